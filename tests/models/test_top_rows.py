"""The best of each row are those that a full sort puts first."""

import numpy as np
import pytest

from models.interactions import PADDING
from models.top_rows import top_rows


def test_it_orders_and_breaks_ties_by_the_lower_row() -> None:
    scores = np.array([[1, 3, 3, 2], [0, -0.0, -1, -np.inf]], dtype=np.float32)
    np.testing.assert_array_equal(top_rows(scores, 3), [[1, 2, 3], [0, 1, 2]])


def test_more_than_the_catalogue_has_ends_in_padding() -> None:
    scores = np.array([[1, -np.inf, 2]], dtype=np.float32)
    np.testing.assert_array_equal(top_rows(scores, 9), [[2, 0, -1]])


def test_it_equals_a_full_stable_sort() -> None:
    scores = np.random.default_rng(0).integers(-5, 5, (50, 40)).astype(np.float32)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :7]
    np.testing.assert_array_equal(top_rows(scores, 7), expected)


@pytest.mark.parametrize("count", [1, 20, 499, 500, 501, 4000])
def test_of_many_items_it_equals_a_full_stable_sort(count: int) -> None:
    rng = np.random.default_rng(count)
    scores = rng.integers(-40, 40, (6, 4001)).astype(np.float32)
    scores[1] = 7
    scores[2, :3990] = -np.inf
    scores[3, 10:] = -np.inf
    scores[4] = np.arange(4001)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    expected = np.where(np.isneginf(np.take_along_axis(scores, expected, axis=1)), PADDING, expected)
    np.testing.assert_array_equal(top_rows(scores, count), expected)
