import numpy as np
import pytest

from models.faiss_backend import faiss
from models.interactions import BoolArray, FloatArray, LongArray
from models.inverted_lists import QUERIES_AT_ONCE, InvertedLists


def vectors(count: int, *, zeros: float = 0.5, seed: int = 0) -> FloatArray:
    """Most are short, a few long, and a share of them 0."""
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal((count, 8), dtype=np.float32) * rng.lognormal(0, 1, (count, 1)).astype(np.float32)
    drawn[rng.random(count) < zeros] = 0
    return drawn


def queries(count: int) -> FloatArray:
    return np.random.default_rng(9).standard_normal((count, 8), dtype=np.float32)


def filled(own: FloatArray) -> InvertedLists:
    lists = InvertedLists.trained(own, seed=0)
    lists.add_with_ids(own, np.arange(len(own), dtype=np.int64))
    return lists


def best(own: FloatArray, asked: FloatArray, count: int, allowed: BoolArray | None = None) -> LongArray:
    """Labels of the largest products with vectors that are not 0."""
    is_known = own.any(axis=1) if allowed is None else own.any(axis=1) & allowed
    return np.argsort(np.where(is_known, -(asked @ own.T), np.inf), axis=1, kind="stable")[:, :count]


def recall(found: LongArray, exact: LongArray) -> float:
    return sum(len(np.intersect1d(a, b)) for a, b in zip(found, exact, strict=True)) / exact.size


def test_all_lists_together_give_the_largest_products() -> None:
    own = vectors(2_000)
    lists = filled(own)
    found = lists.search(queries(50), 20, probes=lists.nlist)
    np.testing.assert_array_equal(found, best(own, queries(50), 20))


def test_few_lists_hold_the_largest_products_of_long_and_short_vectors() -> None:
    own = vectors(20_000)
    lists = filled(own)
    assert recall(lists.search(queries(100), 50, probes=lists.nlist // 8), best(own, queries(100), 50)) > 0.9


def test_vectors_of_zeros_are_left_out() -> None:
    own = vectors(500)
    lists = filled(own)
    assert lists.ntotal == np.count_nonzero(own.any(axis=1)) < 300
    found = lists.search(queries(3), 500, probes=lists.nlist)
    assert [sorted(row[row >= 0].tolist()) for row in found] == [np.flatnonzero(own.any(axis=1)).tolist()] * 3


def test_labels_without_a_vector_can_be_removed_again_and_again() -> None:
    own = vectors(500)
    lists = filled(own)
    for _ in range(2):
        lists.remove_ids(np.arange(100))
    assert lists.ntotal == np.count_nonzero(own[100:].any(axis=1))
    found = lists.search(queries(3), 500, probes=lists.nlist)
    assert found[found >= 0].min() >= 100


def test_added_vectors_may_be_longer_than_all_before() -> None:
    own = vectors(2_000)
    lists = filled(own)
    more = np.concatenate([100 * queries(2), np.zeros((1, 8), dtype=np.float32)])
    lists.add_with_ids(more, np.arange(2_000, 2_003))
    assert lists.search(queries(2), 1, probes=2)[:, 0].tolist() == [2_000, 2_001]
    assert lists.ntotal == np.count_nonzero(own.any(axis=1)) + 2


@pytest.mark.parametrize("factor", [1e-30, 1e-3, 1e30])
def test_the_length_of_a_query_changes_nothing(factor: float) -> None:
    lists = filled(vectors(2_000))
    found = lists.search(np.float32(factor) * queries(20), 20, probes=5)
    np.testing.assert_array_equal(found, lists.search(queries(20), 20, probes=5))


def test_a_query_of_zeros_does_not_disturb_the_others() -> None:
    lists, asked = filled(vectors(2_000)), queries(3)
    asked[1] = 0
    np.testing.assert_array_equal(
        lists.search(asked, 20, probes=5)[[0, 2]], lists.search(queries(3), 20, probes=5)[[0, 2]]
    )


def test_with_vectors_of_zeros_alone_a_single_list_waits_for_others() -> None:
    lists = filled(np.zeros((50, 8), dtype=np.float32))
    assert (lists.nlist, lists.ntotal, lists.d) == (1, 0, 8)
    assert (lists.search(queries(2), 3, probes=1) == -1).all()
    own = vectors(200, zeros=0.2)
    lists.add_with_ids(own, np.arange(50, 250))
    np.testing.assert_array_equal(lists.search(queries(20), 10, probes=1), best(own, queries(20), 10) + 50)


def test_only_labels_with_a_vector_count_as_allowed() -> None:
    own = vectors(20_000)
    lists = filled(own)
    is_known = own.any(axis=1)
    allowed = ~is_known | (np.random.default_rng(4).random(20_000) < 0.05)
    found = lists.search(queries(100), 20, probes=lists.nlist // 12, allowed=allowed)
    assert (allowed & is_known)[found[found >= 0]].all()
    assert recall(found, best(own, queries(100), 20, allowed)) > 0.95


def test_faiss_multiplies_so_few_queries_one_by_one() -> None:
    assert faiss.cvar.distance_compute_blas_threshold > QUERIES_AT_ONCE
