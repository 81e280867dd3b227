import math

import numpy as np
import pytest

from models.beyond_accuracy import (
    category_diversity,
    cold_share,
    coverage,
    diversity,
    gini,
    novelty,
    popularity_bias,
)

RANKED = np.array([[0, 1], [0, -1]], dtype=np.int32)
NOTHING = np.full((2, 2), -1, dtype=np.int32)
COUNTS = np.array([6, 0, 0, 0])


def test_coverage_counts_distinct_items() -> None:
    assert coverage(RANKED, 4) == 0.5
    assert coverage(NOTHING, 4) == 0.0


def test_novelty_is_mean_self_information() -> None:
    # p(0) = 7 / 10 is shown twice, p(1) = 1 / 10 once
    assert novelty(RANKED, COUNTS) == pytest.approx((-2 * math.log2(0.7) - math.log2(0.1)) / 3)


def test_diversity_is_one_less_cosine() -> None:
    embeddings = np.array([[1, 0], [0.6, 0.8], [0, 1], [0, 0]], dtype=np.float32)
    assert diversity(RANKED, embeddings) == pytest.approx(1 - 0.6)  # the list of one item is left out
    three = np.array([[0, 1, 2]], dtype=np.int32)
    assert diversity(three, embeddings) == pytest.approx(1 - (0.6 + 0.0 + 0.8) / 3)
    assert diversity(np.array([[0, 1, 3]], dtype=np.int32), embeddings) == pytest.approx(1 - 0.6)  # 3 has no text


def test_category_diversity_counts_pairs() -> None:
    categories = np.array(["soap", "soap", "", ""], dtype=object)
    lists = np.array([[0, 1, 2], [2, 3, -1]], dtype=np.int32)
    # one of three pairs agrees in the first list; two items without a category do not agree
    assert category_diversity(lists, categories) == pytest.approx((2 / 3 + 1) / 2)


def test_popularity_bias_is_mean_count() -> None:
    assert popularity_bias(RANKED, COUNTS) == (3 + 6) / 2


def test_gini_of_even_and_of_single_exposure() -> None:
    assert gini(np.array([[0, 1], [2, 3]], dtype=np.int32), 4) == pytest.approx(0.0)
    assert gini(np.array([[0], [0]], dtype=np.int32), 4) == pytest.approx(0.75)


def test_cold_share() -> None:
    assert cold_share(RANKED, COUNTS) == pytest.approx(1 / 3)


def test_empty_lists_answer_nan() -> None:
    answers = [
        novelty(NOTHING, COUNTS),
        diversity(NOTHING, np.eye(4, dtype=np.float32)),
        category_diversity(NOTHING, np.array(["a"] * 4, dtype=object)),
        popularity_bias(NOTHING, COUNTS),
        gini(NOTHING, 4),
        cold_share(NOTHING, COUNTS),
    ]
    assert np.isnan(answers).all()
