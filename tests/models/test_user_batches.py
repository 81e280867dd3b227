import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from models.interactions import Histories
from models.user_batches import CELLS_PER_BATCH, MAX_BATCH, batch_size, in_batches


def histories(count: int) -> Histories:
    items = np.arange(count, dtype=np.int32)[:, None]
    return Histories(items, np.ones((count, 1), np.float32), np.zeros((count, 1), np.int64), np.full(count, "", object))


@pytest.mark.parametrize("count", [0, 1, 32, 33, 500, 1001])
def test_every_user_is_in_one_batch_and_their_order_stays(count: int) -> None:
    everyone = histories(count)
    parts = in_batches(everyone, 1000, lambda users, batch: (users, batch.items[:, 0]))
    assert np.concatenate([items for _, items in parts]).tolist() == list(range(count))
    for users, items in parts:
        np.testing.assert_array_equal(everyone.items[users, 0], items)


def test_a_batch_holds_no_more_scores_than_allowed() -> None:
    assert batch_size(10) == MAX_BATCH
    assert batch_size(1_000_000) * 1_000_000 <= CELLS_PER_BATCH
    assert batch_size(10**9) == 1
    sizes = in_batches(histories(300), 1_000_000, lambda _, batch: batch.count)
    assert max(sizes) <= batch_size(1_000_000)


def test_libraries_keep_to_one_thread_each_where_several_batches_run() -> None:
    def blas_threads() -> set[int]:
        """Of the libraries whose number holds for all threads; where OpenMP makes them, each thread has its own."""
        own = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
        return {pool["num_threads"] for pool in own if pool["threading_layer"] == "pthreads"}

    before = blas_threads(), torch.get_num_threads()
    inside = in_batches(histories(400), 1000, lambda *_: (blas_threads(), torch.get_num_threads()))
    assert len(inside) > 1
    assert all(found == ({1}, 1) for found in inside)
    assert (blas_threads(), torch.get_num_threads()) == before


def test_what_fails_in_one_batch_fails_for_all() -> None:
    def make(_: slice, batch: Histories) -> int:
        if 70 in batch.items:
            raise ValueError("user 70")
        return batch.count

    with pytest.raises(ValueError, match="user 70"):
        in_batches(histories(200), 1000, make)
