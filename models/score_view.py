"""What one retriever says of one batch of users, worked out when it is first asked for."""

import numpy as np
from scipy import sparse

from models.exact_products import ExactItems, exact_products, exact_products_at
from models.interactions import PADDING, BoolArray, FloatArray, Histories, IntArray
from models.popularity import PopularityRetriever
from models.retriever import Retriever, SparseRetriever, VectorRetriever
from models.sparse_scores import entries_at
from models.top_rows import top_rows


class ScoreView:
    """What one retriever says of one batch; the dense scores of vectors are made when first needed."""

    def __init__(
        self, retriever: Retriever, histories: Histories, exact: ExactItems | None, *, is_large: bool = False
    ) -> None:
        self._retriever = retriever
        self._histories = histories
        self._exact = exact
        self._scores: FloatArray | None = None
        self.vectors: tuple[FloatArray, FloatArray] | None = None
        self.shared: tuple[IntArray, FloatArray] | None = None
        """Where many users have the same scores: the row of each user, shape (users,), and the rows."""
        if isinstance(retriever, PopularityRetriever):
            self.shared = (retriever.segment_rows(histories.segments), retriever.table()[1])
        self.sparse: sparse.csr_matrix | None = None
        """Of a large catalogue: scores that are 0 but for a few items, columns ascending in each row."""
        if is_large and isinstance(retriever, SparseRetriever):
            self.sparse = retriever.sparse_scores(histories)
            self.sparse.sort_indices()
        if isinstance(retriever, VectorRetriever):
            self.vectors = (retriever.user_vectors(histories), retriever.item_vectors())

    @property
    def is_dense(self) -> bool:
        """Whether scores of all items are made in any case."""
        return self.vectors is None or self._exact is not None

    def dense(self) -> FloatArray:
        """Scores of all items, shape (users, items)."""
        if self._scores is None:
            if self.vectors is None:
                self._scores = self._retriever.score(self._histories)
            elif self._exact is None:
                self._scores = exact_products(*self.vectors)
            else:
                self._scores = self._exact.products(self.vectors[0])
        return self._scores

    def knows(self, rows: IntArray) -> BoolArray:
        """Which of these item rows are scored, in their shape: all of them."""
        return np.ones(rows.shape, dtype=bool)

    def at(self, rows: IntArray) -> FloatArray:
        """Scores at item rows, shape (users, candidates)."""
        if self.vectors and not self.is_dense:
            return exact_products_at(*self.vectors, rows)
        if self.sparse is not None:
            return entries_at(self.sparse, rows)
        if self.shared is not None:
            return self.shared[1][self.shared[0][:, None], rows]
        return np.take_along_axis(self.dense(), rows, axis=1)

    def best(self, among: IntArray, count: int) -> IntArray:
        """The best rows among the given ones, shape (users, count)."""
        if self.vectors and not self.is_dense:
            scores = exact_products(self.vectors[0], self.vectors[1][among])
        elif self.sparse is not None:
            scores = entries_at(self.sparse, np.broadcast_to(among, (self.sparse.shape[0], len(among))))
        else:
            scores = self.dense()[:, among]
        places = top_rows(scores, count)
        return np.where(places >= 0, among[np.maximum(places, 0)], PADDING).astype(np.int32)
