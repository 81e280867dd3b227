import math

import numpy as np
import pytest

from models.bootstrap import bootstrap_intervals, bootstrap_means, compare_paired
from models.errors import DataError


def test_interval_equals_the_normal_one_on_many_users() -> None:
    values = np.random.default_rng(0).normal(0.3, 0.1, size=(4_000, 1))
    interval = bootstrap_intervals(values, seed=1)[0]
    half = 1.96 * values.std() / math.sqrt(4_000)
    assert interval.value == values.mean()
    assert interval.low == pytest.approx(values.mean() - half, abs=half / 5)
    assert interval.high == pytest.approx(values.mean() + half, abs=half / 5)


def test_one_seed_gives_one_interval() -> None:
    values = np.random.default_rng(0).random((50, 2))
    assert bootstrap_intervals(values, seed=3) == bootstrap_intervals(values, seed=3)
    assert bootstrap_intervals(values, seed=3) != bootstrap_intervals(values, seed=4)


def test_chunks_do_not_change_the_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random((50, 2))
    monkeypatch.setattr("models.bootstrap._CHUNK_WEIGHTS", 130)  # two resamples at a time
    means = bootstrap_means(values, seed=3, samples=7)
    assert means.shape == (7, 2)
    assert not np.isnan(means).any()


def test_undefined_values_are_left_out() -> None:
    values = np.array([[1.0, math.nan], [1.0, math.nan], [math.nan, math.nan]])
    first, second = bootstrap_intervals(values, seed=0)
    assert (first.value, first.low, first.high) == (1.0, 1.0, 1.0)
    assert np.isnan([second.value, second.low, second.high]).all()


def test_no_users_give_nan() -> None:
    assert math.isnan(bootstrap_intervals(np.empty((0, 1)), seed=0)[0].low)
    assert math.isnan(compare_paired("ndcg@10", np.empty(0), np.empty(0), seed=0).difference)


def test_paired_comparison_sees_a_small_steady_gain() -> None:
    theirs = np.random.default_rng(0).random(500)
    ours = theirs + np.tile([0.01, 0.03], 250)
    result = compare_paired("ndcg@10", ours, theirs, seed=0)
    assert result.difference == pytest.approx(0.02)
    assert result.effect_size == pytest.approx(2.0)  # mean 0.02 over deviation 0.01
    assert (result.share_better, result.share_worse) == (1.0, 0.0)
    assert result.verdict == "better"
    assert compare_paired("ndcg@10", theirs, ours, seed=0).verdict == "worse"
    assert compare_paired("ndcg@10", ours, ours, seed=0).verdict == "no clear difference"


def test_unpaired_users_are_refused() -> None:
    with pytest.raises(DataError, match="cannot pair 1 users with 2"):
        compare_paired("ndcg@10", np.zeros(1), np.zeros(2), seed=0)
