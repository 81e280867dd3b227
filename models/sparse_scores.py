"""Scores that are 0 but for a few items, read without a column for every item of a large catalogue."""

import numpy as np
from scipy import sparse

from models.interactions import PADDING, BoolArray, FloatArray, IntArray
from models.retriever import pair_values
from models.top_rows import top_rows
from models.unshown_items import UnshownItems


def best_entries(scores: sparse.csr_matrix, count: int, allowed: BoolArray, unshown: UnshownItems | None) -> IntArray:
    """The best item rows of each user; a score of 0 proposes nothing, and ties go to the lower item row.

    Args:
        scores: Shape (users, items), columns ascending in each row.
        count: How many.
        allowed: Items that may be proposed, shape (items,).
        unshown: Items that are passed over; None: none.

    Returns:
        Shape (users, up to count), padded at the end.
    """
    lengths = np.diff(scores.indptr)
    users = np.repeat(np.arange(len(lengths)), lengths)
    places = np.arange(len(users)) - np.repeat(scores.indptr[:-1], lengths)
    is_candidate = allowed[scores.indices] & (scores.data != 0)
    if unshown is not None:
        is_candidate &= ~unshown.mask[users, scores.indices]
    shape = (len(lengths), int(lengths.max(initial=0)))
    values, items = np.full(shape, -np.inf, dtype=np.float32), np.full(shape, PADDING, dtype=np.int32)
    values[users, places] = np.where(is_candidate, scores.data, np.float32(-np.inf))
    items[users, places] = scores.indices
    best = top_rows(values, count)
    if not best.shape[1]:
        return best
    return np.where(best != PADDING, np.take_along_axis(items, np.maximum(best, 0), axis=1), PADDING).astype(np.int32)


def entries_at(scores: sparse.csr_matrix, rows: IntArray) -> FloatArray:
    """Scores at item rows, shape (users, candidates).

    Args:
        scores: Shape (users, items), columns ascending in each row.
        rows: Shape (users, candidates).
    """
    users = np.repeat(np.arange(len(rows), dtype=np.int32), rows.shape[1])
    return pair_values(scores, users, rows.ravel()).reshape(rows.shape)
