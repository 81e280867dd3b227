"""Scores for items that nobody has touched: those of the items that are nearest to them in text.

A retriever that learns from interactions knows nothing of a new item, so its score there means nothing. The item
borrows instead: the mean score of its nearest neighbours in text that have interactions, weighted by how near they are.
Whatever the retrievers have learned of a user's taste for such items then speaks for the new one too.
"""

from collections.abc import Callable

import numpy as np

from models.exact_products import exact_products
from models.interactions import PADDING, BoolArray, FloatArray, IntArray, LongArray
from models.newcomer_config import NewcomerConfig
from models.top_rows import top_rows

_ROWS_AT_ONCE = 512


class Lending:
    """Which items borrow, from whom, and how much."""

    def __init__(self, vectors: FloatArray, can_lend: BoolArray, borrowers: LongArray, config: NewcomerConfig) -> None:
        """Find the neighbours of the borrowers.

        Args:
            vectors: Text vectors of unit length, shape (items, dimensions); zero for an item without text.
            can_lend: Items with interactions, shape (items,).
            borrowers: Rows of the items that borrow; an item never borrows from itself.
            config: How many neighbours, and how they are weighted.
        """
        has_text: BoolArray = np.asarray(vectors.any(axis=1), dtype=bool)
        lenders = np.flatnonzero(can_lend & has_text)
        borrowers = borrowers[has_text[borrowers]]
        # One more than wanted: a borrower that has interactions is its own nearest neighbour.
        count = min(config.neighbours, max(len(lenders) - 1, 0))
        self.place: IntArray = np.full(len(vectors), PADDING, dtype=np.int32)
        """Row of each item in `neighbours`, shape (items,); -1 for items that do not borrow."""
        self.neighbours: IntArray = np.zeros((0, count), dtype=np.int32)
        """Item rows, shape (borrowers, neighbours)."""
        self.shares: FloatArray = np.zeros((0, count), dtype=np.float64)
        """How much each neighbour counts, shape (borrowers, neighbours); a row adds up to 1."""
        if not count or not len(borrowers):
            return
        self.place[borrowers] = np.arange(len(borrowers))
        near, shares = [], []
        for begin in range(0, len(borrowers), _ROWS_AT_ONCE):
            rows = borrowers[begin : begin + _ROWS_AT_ONCE]
            similarity = exact_products(vectors[rows], vectors[lenders])
            similarity[rows[:, None] == lenders[None, :]] = -np.inf
            best = top_rows(similarity, count)
            values = np.take_along_axis(similarity, best, axis=1).astype(np.float64)
            weights = np.exp((values - values[:, :1]) / config.temperature)
            near.append(lenders[best].astype(np.int32))
            shares.append(weights / weights.sum(axis=1, keepdims=True))
        self.neighbours, self.shares = np.concatenate(near), np.concatenate(shares)

    def borrows(self, rows: IntArray) -> BoolArray:
        """Which of these item rows borrow; padding does not."""
        return np.asarray((rows != PADDING) & (self.place[np.maximum(rows, 0)] != PADDING))

    def borrowed(self, score: Callable[[IntArray], FloatArray], rows: IntArray) -> FloatArray:
        """What borrowers score by their neighbours.

        Args:
            score: Scores of item rows of shape (users, n) by one retriever, in the same shape.
            rows: Borrowers, shape (users, count); padding and others get 0.
        """
        is_known = self.borrows(rows)
        if not is_known.any():
            return np.zeros(rows.shape, dtype=np.float32)
        places = np.where(is_known, self.place[np.maximum(rows, 0)], 0)
        near = self.neighbours[places]
        scores = score(near.reshape(len(rows), -1)).reshape(near.shape).astype(np.float64)
        # A sum over one short axis has one order, whatever the batch.
        lent = (scores * self.shares[places]).sum(axis=2)
        return np.where(is_known, lent, 0).astype(np.float32)
