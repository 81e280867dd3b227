import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import DataError
from models.metrics import METRICS, area_under_curve, judge, mean, metrics_per_user
from models.splitting import Targets

RANKED = np.array([[4, 2, 7], [1, -1, -1], [5, 6, 8], [3, 2, 1]], dtype=np.int32)
TARGETS = [[2, 7, 9], [1], [0], []]


def csr(relevant: list[list[int]]) -> Targets:
    start = np.cumsum([0, *map(len, relevant)])
    return Targets(start.astype(np.int64), np.array([item for items in relevant for item in items], dtype=np.int32))


D2, D3 = 1 / math.log2(3), 1 / math.log2(4)
HAND = {
    # user 0 finds its 2nd and 3rd place of three relevant, user 1 its only one, user 2 nothing, user 3 has no target
    "recall@3": [2 / 3, 1.0, 0.0, math.nan],
    "recall@1": [0.0, 1.0, 0.0, math.nan],
    "ndcg@3": [(D2 + D3) / (1 + D2 + D3), 1.0, 0.0, math.nan],
    "ndcg@2": [D2 / (1 + D2), 1.0, 0.0, math.nan],
    "mrr@3": [1 / 2, 1.0, 0.0, math.nan],
    "mrr@1": [0.0, 1.0, 0.0, math.nan],
    "hit_rate@3": [1.0, 1.0, 0.0, math.nan],
    "map@3": [(1 / 2 + 2 / 3) / 3, 1.0, 0.0, math.nan],
    "map@2": [(1 / 2) / 3, 1.0, 0.0, math.nan],
}


@pytest.mark.parametrize("name", HAND)
def test_hand_computed(name: str) -> None:
    values = metrics_per_user(RANKED, csr(TARGETS), ks=(1, 2, 3))[name]
    np.testing.assert_allclose(values, HAND[name])


@pytest.mark.parametrize("name", METRICS)
def test_empty_input(name: str) -> None:
    no_users = judge(np.empty((0, 3), np.int32), csr([]))
    assert METRICS[name](no_users, 3).shape == (0,)
    no_places = judge(np.empty((2, 0), np.int32), csr([[1], []]))
    np.testing.assert_array_equal(METRICS[name](no_places, 3), [0.0, math.nan])


def test_mean_leaves_out_the_undefined() -> None:
    assert mean(np.array([1.0, math.nan, 0.0])) == 0.5
    assert math.isnan(mean(np.array([math.nan])))


def test_bad_lists_are_refused() -> None:
    with pytest.raises(DataError, match="item row 2 more than once"):
        judge(np.array([[2, 3, 2]], dtype=np.int32), csr([[1]]))
    with pytest.raises(DataError, match="1 ranked lists for 2 users"):
        judge(np.array([[2]], dtype=np.int32), csr([[1], [1]]))
    with pytest.raises(DataError, match="k must be at least 1"):
        METRICS["ndcg"](judge(RANKED, csr(TARGETS)), 0)


def test_equals_ir_measures() -> None:
    ir_measures = pytest.importorskip("ir_measures")
    rng = np.random.default_rng(7)
    ranked = np.argsort(rng.random((40, 30)), axis=1)[:, :12].astype(np.int32)
    relevant = [rng.choice(30, size=rng.integers(1, 9), replace=False).tolist() for _ in range(40)]
    ours = metrics_per_user(ranked, csr(relevant), ks=(3, 10))
    qrels = {f"{u:02d}": {str(item): 1 for item in items} for u, items in enumerate(relevant)}
    run = {f"{u:02d}": {str(item): -float(r) for r, item in enumerate(row)} for u, row in enumerate(ranked)}
    names = {"R": "recall", "nDCG": "ndcg", "RR": "mrr", "Success": "hit_rate", "AP": "map"}
    measures = [ir_measures.parse_measure(f"{name}@{k}") for name in names for k in (3, 10)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs = list(ir_measures.iter_calc(measures, qrels, run))
    assert len(theirs) == 40 * 10
    for row in theirs:
        name, k = str(row.measure).split("@")
        assert ours[f"{names[name]}@{k}"][int(row.query_id)] == pytest.approx(row.value, abs=1e-9)


@given(seed=st.integers(0, 1_000), k=st.integers(1, 12))
def test_bounds_and_order_of_users(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    ranked = np.argsort(rng.random((6, 10)), axis=1).astype(np.int32)
    relevant = [rng.choice(10, size=rng.integers(1, 10), replace=False).tolist() for _ in range(6)]
    order = rng.permutation(6)
    for metric in METRICS.values():
        values = metric(judge(ranked, csr(relevant)), k)
        assert ((values >= 0) & (values <= 1)).all()
        shuffled = metric(judge(ranked[order], csr([relevant[u] for u in order])), k)
        np.testing.assert_array_equal(shuffled, values[order])


@given(seed=st.integers(0, 1_000))
def test_a_perfect_list_scores_one(seed: int) -> None:
    relevant = np.random.default_rng(seed).permutation(10)[:4].tolist()
    values = metrics_per_user(np.array([relevant], dtype=np.int32), csr([relevant]), ks=(4,))
    assert {name: value.tolist() for name, value in values.items()} == {name: [1.0] for name in values}


def test_area_under_curve_by_hand() -> None:
    scores, is_positive = np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False])
    assert area_under_curve(scores, is_positive) == (1 + 1 + 0.5 + 1) / 4  # four pairs, one of them tied
    assert np.isnan(area_under_curve(scores, np.ones(4, dtype=bool)))


def test_area_under_curve_equals_counting_pairs() -> None:
    rng = np.random.default_rng(0)
    scores, is_positive = rng.integers(0, 6, 50).astype(float), rng.random(50) < 0.3
    pairs = scores[is_positive][:, None] - scores[~is_positive][None, :]
    assert area_under_curve(scores, is_positive) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
