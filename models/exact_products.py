"""Dot products whose bits depend on the two vectors alone: not on the batch, its order, the threads or the processor.

A BLAS sums in an order that follows from a row's place in the matrix, so a user's score in a batch of one may differ in
its last bits from the score in a batch of many, and lists that tie in between differ as well. Here vectors are rounded
to integers of 22 bits times a power of two, row by row, as in the first step of Ozaki's scheme. Products and sums of
such integers are exact in float64 in any order, up to 512 dimensions (beyond that with fewer bits), so any BLAS gives
the one result.

Source: K. Ozaki, T. Ogita, S. Oishi, S. M. Rump: Error-free transformations of matrix multiplication by using fast
routines of matrix multiplication and its applications. Numerical Algorithms 59 (2012).
"""

import numpy as np
import numpy.typing as npt

from models.interactions import FloatArray, IntArray

DoubleArray = npt.NDArray[np.float64]

_EXACT_BITS = 53
_MOST_BITS = 22
_USERS_AT_ONCE = 256
_ITEMS_AT_ONCE = 1024
"""The products of so many items with a batch of users stay in the cache of a core."""
_GATHERED_AT_ONCE = 4_000_000


class ExactItems:
    """Item vectors that were rounded once, for products with batch after batch of users."""

    def __init__(self, items: FloatArray) -> None:
        """Round all items.

        Args:
            items: Shape (items, dimensions), finite; must not change afterwards.
        """
        self.items = items
        # By dimension, as BLAS reads it fastest.
        self._rounded = np.ascontiguousarray(rounded_rows(items).T)

    def products(self, users: FloatArray) -> FloatArray:
        """The bits of `exact_products`, shape (users, items)."""
        scores = np.empty((len(users), len(self.items)), dtype=np.float32)
        _multiply(rounded_rows(users), self._rounded, scores)
        return scores


def exact_products(users: FloatArray, items: FloatArray) -> FloatArray:
    """All dot products, shape (users, items), relative to the largest terms as exact as float32.

    Args:
        users: Shape (users, dimensions), finite.
        items: Shape (items, dimensions), finite.
    """
    scores = np.empty((len(users), len(items)), dtype=np.float32)
    rounded_users = rounded_rows(users)
    for first in range(0, len(items), _ITEMS_AT_ONCE):
        some = slice(first, first + _ITEMS_AT_ONCE)
        _multiply(rounded_users, rounded_rows(items[some]).T, scores[:, some])
    return scores


def _multiply(users: DoubleArray, items: DoubleArray, scores: FloatArray) -> None:
    """Fill `scores`, shape (users, items), in tiles that a core's cache holds."""
    tile = np.empty((min(len(users), _USERS_AT_ONCE), min(items.shape[1], _ITEMS_AT_ONCE)))
    for first in range(0, items.shape[1], _ITEMS_AT_ONCE):
        some = items[:, first : first + _ITEMS_AT_ONCE]
        for begin in range(0, len(users), _USERS_AT_ONCE):
            part = users[begin : begin + _USERS_AT_ONCE]
            out = tile[: len(part), : some.shape[1]]
            np.matmul(part, some, out=out)
            scores[begin : begin + len(part), first : first + some.shape[1]] = out


def exact_products_at(users: FloatArray, items: FloatArray, rows: IntArray) -> FloatArray:
    """Dot products at given item rows only, shape as `rows` (users, candidates); the bits of `exact_products`."""
    scores = np.empty(rows.shape, dtype=np.float32)
    at_once = max(1, _GATHERED_AT_ONCE // max(rows.shape[1] * items.shape[1], 1))
    for begin in range(0, len(users), at_once):
        part = slice(begin, begin + at_once)
        gathered = rounded_rows(items[rows[part].ravel()]).reshape(*rows[part].shape, items.shape[1])
        scores[part] = np.matmul(gathered, rounded_rows(users[part])[:, :, None])[:, :, 0]
    return scores


def rounded_rows(vectors: FloatArray) -> DoubleArray:
    """Each row rounded to integers of at most 22 bits times the row's power of two."""
    dimensions = max(vectors.shape[1], 1)
    bits = min(_MOST_BITS, (_EXACT_BITS - int(np.ceil(np.log2(dimensions)))) // 2)
    largest = np.maximum(vectors.max(axis=1, initial=0), -vectors.min(axis=1, initial=0))
    _, exponents = np.frexp(largest)
    rounded = vectors * np.ldexp(1.0, bits - exponents)[:, None]
    np.rint(rounded, out=rounded)
    rounded *= np.ldexp(1.0, exponents - bits)[:, None]
    return np.asarray(rounded, dtype=np.float64)
