"""What a retriever whose weight is 0 still says: nothing of items with interactions, the text of those without.

Asking a retriever costs the same whether its scores count or not. One that counts nothing can be left out, but for new
items: they compete by their text, and the retriever that reads it may be the one without a weight.
"""

import numpy as np

from models.exact_products import exact_products
from models.interactions import PADDING, BoolArray, FloatArray, Histories, IntArray
from models.retriever import Retriever, VectorRetriever
from models.top_rows import top_rows


class SilentView:
    """Scores of new items only; made when first needed."""

    def __init__(self, retriever: Retriever, histories: Histories, new_rows: IntArray, item_count: int) -> None:
        """Bind to one batch of users.

        Args:
            retriever: Whose weight is 0.
            histories: The users.
            new_rows: Items without interactions whose text it knows; none where it reads no texts.
            item_count: Items of the catalogue.
        """
        self._retriever, self._histories, self._rows = retriever, histories, new_rows
        self._columns: IntArray = np.full(item_count, PADDING, dtype=np.int32)
        self._columns[new_rows] = np.arange(len(new_rows))
        self._scores: FloatArray | None = None

    def knows(self, rows: IntArray) -> BoolArray:
        """Which of these item rows it says anything of, in their shape."""
        return np.asarray(self._columns[rows] != PADDING)

    def at(self, rows: IntArray) -> FloatArray:
        """Scores at item rows, shape (users, candidates); 0 where it says nothing."""
        columns = self._columns[rows]
        if not (columns != PADDING).any():
            return np.zeros(rows.shape, dtype=np.float32)
        found = np.take_along_axis(self._new_scores(), np.maximum(columns, 0), axis=1)
        return np.where(columns != PADDING, found, np.float32(0))

    def best(self, among: IntArray, count: int) -> IntArray:
        """The best of the given new items, shape (users, count), padded."""
        if not len(self._rows):
            return np.full((self._histories.count, 0), PADDING, dtype=np.int32)
        places = top_rows(self._new_scores()[:, self._columns[among]], count)
        return np.where(places >= 0, among[np.maximum(places, 0)], PADDING).astype(np.int32)

    def _new_scores(self) -> FloatArray:
        """Shape (users, new items)."""
        if self._scores is None:
            if isinstance(self._retriever, VectorRetriever):
                vectors = self._retriever.item_vectors()[self._rows]
                self._scores = exact_products(self._retriever.user_vectors(self._histories), vectors)
            else:
                self._scores = self._retriever.score(self._histories)[:, self._rows]
        return self._scores
