"""Inverted lists of FAISS for the largest dot products with item vectors, without the vectors of zeros.

A collaborative vector is the longer, the more users its item has, and the largest products are mostly those with long
vectors. Lists by direction alone hold long and short ones alike, so that half of them have to be probed. One more
coordinate makes all vectors equally long: the largest product then belongs to the nearest vector, and lists hold what
is near. Vectors that are of equal length anyway lose nothing.

A vector of zeros has a product of 0 with every user: nobody's item. A list of them would be scanned for everybody.

Source: Y. Bachrach et al.: Speeding up the Xbox recommender system using a Euclidean transformation for inner-product
spaces. RecSys 2014.
"""

from typing import Any, Self

import numpy as np

from models.exact_products import DoubleArray
from models.faiss_backend import faiss
from models.interactions import BoolArray, FloatArray, LongArray

LEAST_IN_A_LIST = 39
"""Vectors for each list, on average: FAISS asks for as many."""
QUERIES_AT_ONCE = 16
"""FAISS multiplies up to 19 queries with the centres one by one, so that what a query finds is the same in every batch.
Larger blocks gain nothing: lists are scanned for each query alone."""


class InvertedLists:
    """Trained lists; methods and properties that a flat index has as well are named as those of FAISS."""

    def __init__(self, index: Any, length: float, label_count: int) -> None:
        """Wrap an index that was trained or read.

        Args:
            index: Of the vectors with one more coordinate.
            length: Of all vectors with that coordinate, as far as none is longer without it.
            label_count: Labels that were given so far, to vectors of zeros as well.
        """
        self.index = index
        self.length = length
        self._holds: BoolArray = np.zeros(label_count, dtype=bool)
        """Labels that have a vector here."""
        self._holds[_labels(index)] = True

    @classmethod
    def trained(cls, vectors: FloatArray, *, seed: int) -> Self:
        """Lists for vectors such as these, shape (items, dimension), without items. With all zeros: a single list."""
        known = vectors[vectors.any(axis=1)]
        length = float(_lengths(known).max(initial=0))
        dimension = vectors.shape[1] + 1
        lists = max(1, min(int(4 * np.sqrt(len(known))), len(known) // LEAST_IN_A_LIST))
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(dimension), dimension, lists, faiss.METRIC_INNER_PRODUCT)
        index.cp.seed, index.cp.spherical = seed, False
        # A single list may have fewer, and needs no warning.
        index.cp.min_points_per_centroid = 1
        index.train(_equally_long(known if len(known) else vectors[:1], length))
        return cls(index, length, 0)

    @property
    def d(self) -> int:
        """Dimension of the vectors."""
        return int(self.index.d) - 1

    @property
    def ntotal(self) -> int:
        """Vectors that can be found."""
        return int(self.index.ntotal)

    @property
    def nlist(self) -> int:
        """Number of lists."""
        return int(self.index.nlist)

    def add_with_ids(self, vectors: FloatArray, labels: LongArray) -> None:
        """Add those that are not 0; all labels count as given."""
        is_known = vectors.any(axis=1)
        holds = np.zeros(max(len(self._holds), int(labels.max(initial=-1)) + 1), dtype=bool)
        holds[: len(self._holds)] = self._holds
        holds[labels[is_known]] = True
        self._holds = holds
        if is_known.any():
            self.index.add_with_ids(_equally_long(vectors[is_known], self.length), labels[is_known])

    def remove_ids(self, labels: LongArray) -> None:
        """Remove the vectors of these labels, where they have one."""
        held = labels[self._holds[labels]]
        if len(held):
            self.index.remove_ids(held)
            self._holds[held] = False

    def search(self, queries: FloatArray, count: int, *, probes: int, allowed: BoolArray | None = None) -> LongArray:
        """Labels of the largest products, best first, padded with -1.

        Args:
            queries: Shape (users, dimension), at least one.
            count: How many.
            probes: Lists that are scanned for each query where all labels are allowed. The fewer are, the more lists:
                the best of them lie farther apart.
            allowed: Labels that may be found, shape (labels,); all when None.

        Returns:
            Shape (users, count).
        """
        chosen = None
        if allowed is not None:
            left = int(np.count_nonzero(allowed & self._holds))
            probes = min(-(-probes * self.ntotal // max(left, 1)), self.nlist)
            chosen = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        settings = faiss.SearchParametersIVF(nprobe=probes, sel=chosen)
        asked = self._asked(queries)
        parts = [
            self.index.search(asked[begin : begin + QUERIES_AT_ONCE], count, params=settings)[1]
            for begin in range(0, len(asked), QUERIES_AT_ONCE)
        ]
        return np.concatenate(parts).astype(np.int64)

    def _asked(self, queries: FloatArray) -> FloatArray:
        """Queries as long as the vectors, with 0 as their last coordinate: no product changes but by a factor."""
        exact = queries.astype(np.float64)
        lengths = _lengths(exact)
        factors = np.ones_like(lengths)
        if self.length:
            np.divide(self.length, lengths, out=factors, where=lengths > 0)
        return np.pad(exact * factors[:, None], ((0, 0), (0, 1))).astype(np.float32)


def _equally_long(vectors: FloatArray, length: float) -> FloatArray:
    """Vectors with one more coordinate, which makes them as long as `length`; 0 for those that are longer already."""
    missing = np.sqrt(np.maximum(length**2 - _lengths(vectors) ** 2, 0)).astype(np.float32)
    return np.concatenate([vectors, missing[:, None]], axis=1)


def _lengths(vectors: FloatArray | DoubleArray) -> DoubleArray:
    """Euclidean, shape (vectors,)."""
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)))


def _labels(index: Any) -> LongArray:
    """Labels of all vectors, list by list."""
    lists = index.invlists
    parts = [
        faiss.rev_swig_ptr(lists.get_ids(number), lists.list_size(number)).copy()
        for number in range(index.nlist)
        if lists.list_size(number)
    ]
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])
