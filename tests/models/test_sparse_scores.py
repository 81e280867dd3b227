"""Sparse scores say the same as dense ones."""

import numpy as np
import pytest
from scipy import sparse

from models.interactions import PADDING
from models.sparse_scores import best_entries, entries_at
from models.top_rows import top_rows
from models.unshown_items import UnshownItems

USERS, ITEMS = 7, 40


@pytest.fixture
def scores() -> sparse.csr_matrix:
    """Few entries with many ties, one of them 0; the third user has none."""
    random = np.random.default_rng(5)
    dense = random.integers(-1, 4, (USERS, ITEMS)) * (random.random((USERS, ITEMS)) < 0.3)
    dense[2] = 0
    matrix = sparse.csr_matrix(dense.astype(np.float32))
    matrix.data[3] = 0
    return matrix


@pytest.fixture
def seen() -> UnshownItems:
    return UnshownItems(np.random.default_rng(6).integers(PADDING, ITEMS, (USERS, 6)).astype(np.int32), ITEMS)


@pytest.mark.parametrize("count", [1, 5, ITEMS])
@pytest.mark.parametrize("has_seen", [False, True])
def test_the_best_entries_are_the_best_items(
    scores: sparse.csr_matrix, seen: UnshownItems, count: int, has_seen: bool
) -> None:
    allowed = np.arange(ITEMS) % 5 != 0
    dense = scores.toarray()
    is_candidate = allowed & (dense != 0) & ~(seen.mask if has_seen else np.zeros_like(seen.mask))
    best = best_entries(scores, count, allowed, seen if has_seen else None)
    expected = top_rows(np.where(is_candidate, dense, -np.inf).astype(np.float32), count)
    assert best.shape[1] <= count
    np.testing.assert_array_equal(best, expected[:, : best.shape[1]])
    assert (expected[:, best.shape[1] :] == PADDING).all()


def test_no_entries_propose_nothing() -> None:
    nothing = sparse.csr_matrix((USERS, ITEMS), dtype=np.float32)
    assert best_entries(nothing, 3, np.ones(ITEMS, dtype=bool), None).shape == (USERS, 0)
    assert not entries_at(nothing, np.zeros((USERS, 2), dtype=np.int32)).any()


def test_entries_at_rows_are_those_of_the_dense_scores(scores: sparse.csr_matrix) -> None:
    rows = np.random.default_rng(7).integers(0, ITEMS, (USERS, 90))
    np.testing.assert_array_equal(
        entries_at(scores, rows.astype(np.int32)), np.take_along_axis(scores.toarray(), rows, axis=1)
    )
