"""Batches of users, worked on by as many threads as there are cores.

A user's result does not depend on the batch, so neither their number nor the order in which they end changes anything.
Most of the work is done by numpy, torch and FAISS, which let other threads run meanwhile.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from models.cpu_threads import one_thread_each
from models.interactions import Histories

T = TypeVar("T")

MAX_BATCH = 256
CELLS_PER_BATCH = 32_000_000
ALONE = 32
"""Up to so many users, one thread is as fast as several."""


def batch_size(item_count: int) -> int:
    """Users whose dense scores of all items are held at once."""
    return int(np.clip(CELLS_PER_BATCH // max(item_count, 1), 1, MAX_BATCH))


def in_batches(histories: Histories, item_count: int, make: Callable[[slice, Histories], T]) -> list[T]:
    """What `make` says of each batch of users, in their order; of one empty batch where there are no users.

    Args:
        histories: All users.
        item_count: Size of the catalogue, which limits a batch.
        make: Gets the places of a batch among all users, and its histories; called from several threads at once.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    size = batch_size(item_count)
    if histories.count > ALONE and cores > 1:
        # Together the threads hold no more than one batch alone would.
        size = max(min(size // cores, -(-histories.count // cores)), 1)
    slices = [slice(begin, begin + size) for begin in range(0, max(histories.count, 1), size)]
    if len(slices) == 1:
        return [make(slices[0], histories)]
    with one_thread_each(), ThreadPoolExecutor(cores, thread_name_prefix="batch") as pool:
        return list(pool.map(lambda users: make(users, histories.of_users(users)), slices))
