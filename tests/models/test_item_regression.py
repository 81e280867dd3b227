import numpy as np
import pytest
from scipy import sparse

from models.catalogue import Catalogue
from models.errors import DataError
from models.interactions import InteractionLog
from models.item_regression import local_weights, pair_gib
from models.retriever import log_matrix

Market = tuple[Catalogue, InteractionLog]


def gram_of(log: InteractionLog) -> sparse.csr_matrix:
    users_by_item = log_matrix(log)
    return sparse.csr_matrix(users_by_item.T @ users_by_item)


def log_of_lengths(lengths: list[int], item_count: int) -> InteractionLog:
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    events = int(start[-1])
    return InteractionLog(
        user_ids=np.array([f"u{number}" for number in range(len(lengths))], dtype=object),
        segments=np.full(len(lengths), "", dtype=object),
        start=start,
        item_rows=(np.arange(events) % item_count).astype(np.int32),
        event_ats=np.arange(events),
        weights=np.ones(events, dtype=np.float32),
        item_count=item_count,
    )


def test_with_all_candidates_the_weights_equal_the_dense_closed_form(checkerboard: Market) -> None:
    gram = gram_of(checkerboard[1])
    inverse = np.linalg.inv(gram.toarray().astype(np.float64) + 2.0 * np.eye(20))
    dense = -inverse / np.diag(inverse)
    np.fill_diagonal(dense, 0)
    weights = local_weights(gram, gram, regularization=2.0, candidates=20).toarray()
    np.testing.assert_allclose(weights, dense, rtol=1e-4, atol=1e-5)


def test_a_column_is_the_ridge_regression_on_its_strongest_candidates() -> None:
    gram = sparse.csr_matrix(np.array([[4, 1, 2, 0], [1, 3, 1, 1], [2, 1, 5, 0], [0, 1, 0, 2]], dtype=np.float32))
    cross = sparse.csr_matrix(np.array([[9, 0, 0, 3], [0, 0, 0, 1], [0, 0, 0, 2], [0, 0, 0, 7]], dtype=np.float32))
    weights = local_weights(gram, cross, regularization=1.0, candidates=2).toarray()
    # Item 3 calls on items 0 and 2: [[5, 2], [2, 6]] b = [3, 2], so b = [14, 4] / 26. All else has no candidate.
    np.testing.assert_allclose(weights[:, 3], [14 / 26, 0, 4 / 26, 0], rtol=1e-6)
    assert not weights[:, :3].any()


def test_a_system_without_a_solution_is_refused() -> None:
    gram = sparse.csr_matrix(np.array([[0, 1, 1], [1, -5, 1], [1, 1, -5]], dtype=np.float32))
    with pytest.raises(DataError, match="item row 0 have no solution"):
        local_weights(gram, gram, regularization=1.0, candidates=3)


def test_memory_grows_with_the_pairs_and_not_with_the_square_of_the_catalogue() -> None:
    small, large = log_of_lengths([10] * 50, 1_000), log_of_lengths([10] * 50, 1_000_000)
    # 10 interactions make 55 pairs with themselves, both ways, 40 bytes each.
    assert pair_gib(small, 10) == pytest.approx(50 * 110 * 40 / 2**30)
    assert pair_gib(large, 10) == pair_gib(small, 10)
    assert pair_gib(log_of_lengths([1_000] * 5, 10), 1_000) == pytest.approx(100 * 40 / 2**30)


def test_a_window_bounds_the_pairs_of_a_heavy_user() -> None:
    # Places 1, 2 and then always 3 within the window, itself counted: 1 + 2 + 98 * 3.
    assert pair_gib(log_of_lengths([100], 10_000), 3) == pytest.approx(2 * 297 * 40 / 2**30)
