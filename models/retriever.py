"""What every retriever promises, and the array operations that all of them share.

Results must not depend on how users are batched. Scores of vectors are exact (`models.exact_products`). Where torch or
FAISS multiplies, rows come in blocks of `BLOCK`, padded with zeros, so that the kernel at least is always the same; the
place in the block and the number of threads may still change the last bits there.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import orjson
import pandas as pd
from safetensors.numpy import load_file, save_file
from scipy import sparse

from models.catalogue import Catalogue
from models.errors import NotFittedError
from models.interactions import (
    PADDING,
    BoolArray,
    FloatArray,
    Histories,
    IntArray,
    InteractionLog,
    ObjectArray,
)
from models.ties import Ties, shared_ages

BLOCK = 64
"""Users per matrix product."""

ARRAYS_FILE = "arrays.safetensors"
FACTS_FILE = "facts.json"


class Retriever(Protocol):
    """Scores items for users from what it learned. All item arrays are in the row order of the catalogue."""

    name: str

    def fit(self, log: InteractionLog, catalogue: Catalogue, *, seed: int) -> None:
        """Learn from `log`, whose item rows are those of `catalogue`."""
        ...

    def score(self, histories: Histories) -> FloatArray:
        """Scores of all items for each user, shape (users, items); 0 where the retriever knows nothing."""
        ...

    def refresh(self, catalogue: Catalogue) -> None:
        """Bind to a changed catalogue without learning again: rows move with their ids, unknown items score 0."""
        ...

    def save(self, folder: Path) -> None:
        """Write to `folder` as safetensors and JSON."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        ...


@runtime_checkable
class VectorRetriever(Retriever, Protocol):
    """A retriever whose score is the dot product of a user vector and an item vector."""

    def user_vectors(self, histories: Histories) -> FloatArray:
        """Shape (users, dimension); zero for a user without a known history."""
        ...

    def item_vectors(self) -> FloatArray:
        """Shape (items, dimension); zero for an item that the retriever knows nothing about."""
        ...


@runtime_checkable
class SparseRetriever(Retriever, Protocol):
    """A retriever whose scores are 0 but for the items that a history calls for."""

    def sparse_scores(self, histories: Histories) -> sparse.csr_matrix:
        """The scores of `score` without its zeros, shape (users, items)."""
        ...


@runtime_checkable
class SimilarityRetriever(Retriever, Protocol):
    """A retriever that is no vector model but can say how strongly one item of a history calls for another."""

    def similarity(self, history: IntArray, items: IntArray) -> FloatArray:
        """Strength between each history item and each item, shape (pairs,) for two arrays of item rows."""
        ...


def in_blocks(compute: Callable[[FloatArray], FloatArray], vectors: FloatArray) -> FloatArray:
    """Apply `compute` to blocks of exactly `BLOCK` rows (padded with zeros) and join the results."""
    parts = []
    for begin in range(0, max(len(vectors), 1), BLOCK):
        block = vectors[begin : begin + BLOCK]
        padded = np.zeros((BLOCK, vectors.shape[1]), dtype=np.float32)
        padded[: len(block)] = block
        parts.append(compute(padded)[: len(block)])
    return np.concatenate(parts)


def recency(histories: Histories, decay: float, *, ties: Ties = "ordered") -> FloatArray:
    """`exp(-age / decay)` by place from the end (the latest has age 0), 0 on padding; all ones when `decay` is 0.

    Args:
        histories: The users.
        decay: Places after which an interaction counts 1/e.
        ties: ordered: every place counts; unordered: interactions of the same second share their mean place. Callers
            resolve auto when they are fitted (`models.ties.resolved_ties`).
    """
    length = histories.items.shape[1]
    age = np.arange(length - 1, -1, -1, dtype=np.float32)[None, :]
    if ties == "unordered":
        age = shared_ages(histories)
    by_place = np.exp(-age / np.float32(decay)) if decay > 0 else np.ones_like(age)
    return np.where(histories.items != PADDING, by_place, np.float32(0)).astype(np.float32)


def history_matrix(
    histories: Histories,
    item_count: int,
    *,
    decay: float,
    length: int,
    known: BoolArray | None = None,
    ties: Ties = "ordered",
) -> sparse.csr_matrix:
    """Weighted histories as a sparse matrix (users, items): event weight times recency, repeats added up.

    Args:
        histories: The users.
        item_count: Number of columns.
        decay: See `recency`.
        length: Only so many latest interactions count.
        known: Items that may count, shape (items,); all when None.
        ties: See `recency`.
    """
    latest = histories.last(length)
    return weighted_histories(latest, recency(latest, decay, ties=ties) * latest.weights, item_count, known=known)


def weighted_histories(
    histories: Histories, values: FloatArray, item_count: int, *, known: BoolArray | None = None
) -> sparse.csr_matrix:
    """Histories as a sparse matrix (users, items), the values of repeats added up.

    Args:
        histories: The users.
        values: Of each interaction, shape (users, length); those on padding do not count.
        item_count: Number of columns.
        known: Items that may count, shape (items,); all when None.
    """
    counts = histories.items != PADDING
    if known is not None:
        counts &= known[np.where(counts, histories.items, 0)]
    users, places = np.nonzero(counts)
    matrix = sparse.csr_matrix(
        (values[users, places], (users, histories.items[users, places])), shape=(histories.count, item_count)
    )
    matrix.sum_duplicates()
    return matrix


def log_matrix(log: InteractionLog, *, is_binary: bool = True) -> sparse.csr_matrix:
    """The log as a sparse matrix (users, items), with ones or with summed weights."""
    # A copy, since `sum_duplicates` moves values within the array that it was given.
    values = np.ones(len(log.item_rows), dtype=np.float32) if is_binary else log.weights.copy()
    matrix = sparse.csr_matrix(
        (values, log.item_rows.astype(np.int64), log.start), shape=(log.user_count, log.item_count), dtype=np.float32
    )
    matrix.sum_duplicates()
    if is_binary:
        matrix.data[:] = 1
    return matrix


def latest_interactions(log: InteractionLog, count: int) -> InteractionLog:
    """The log with at most the `count` latest interactions of each user."""
    ends = np.repeat(log.start[1:], np.diff(log.start))
    return log.select(ends - np.arange(len(log.item_rows)) <= count)


def row_map(old_ids: ObjectArray, new_ids: ObjectArray) -> IntArray:
    """Old row of each new item, -1 for an item that was not there; shape (new items,)."""
    return np.asarray(pd.Index(old_ids).get_indexer(pd.Index(new_ids)), dtype=np.int32)


def realign(values: FloatArray, rows: IntArray) -> FloatArray:
    """Rows of `values` in the order of `row_map`; zeros for new items. Works along the first axis."""
    moved = values[np.maximum(rows, 0)] if len(values) else np.zeros((len(rows), *values.shape[1:]), np.float32)
    moved[rows < 0] = 0
    return moved


def realign_square(matrix: sparse.csr_matrix, rows: IntArray) -> sparse.csr_matrix:
    """An item-item matrix in the order of `row_map`, with empty rows and columns for new items."""
    if len(rows) == matrix.shape[0] and np.array_equal(rows, np.arange(len(rows))):
        return matrix
    kept = np.flatnonzero(rows >= 0)
    new_rows = np.full(matrix.shape[0], -1, dtype=np.int32)
    new_rows[rows[kept]] = kept
    # The entries of the rows that are kept, in their new order.
    counts = np.zeros(len(rows), dtype=np.int64)
    counts[kept] = np.diff(matrix.indptr)[rows[kept]]
    ends = np.cumsum(counts)
    places = np.arange(counts.sum()) + np.repeat(matrix.indptr[rows[kept]] - (ends - counts)[kept], counts[kept])
    columns, values = new_rows[matrix.indices[places]], matrix.data[places]
    if (is_gone := columns < 0).any():
        gone_before = np.concatenate([[0], np.cumsum(is_gone)])
        ends = ends - gone_before[ends]
        columns, values = columns[~is_gone], values[~is_gone]
    start = np.concatenate([[0], ends])
    moved = sparse.csr_matrix((values, columns, start), shape=(len(rows), len(rows)))
    moved.sort_indices()
    return moved


def pair_values(matrix: sparse.csr_matrix, rows: IntArray, columns: IntArray) -> FloatArray:
    """Entries of a sparse matrix at pairs of rows and columns, shape (pairs,)."""
    if not len(rows):
        return np.zeros(0, dtype=np.float32)
    return np.asarray(matrix[rows, columns], dtype=np.float32).reshape(-1)


def save_state(folder: Path, arrays: Mapping[str, np.ndarray[Any, Any]], facts: Mapping[str, Any]) -> None:
    """Write arrays as safetensors and the rest as JSON; equal state gives equal bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / ARRAYS_FILE)
    (folder / FACTS_FILE).write_bytes(orjson.dumps(dict(facts), option=orjson.OPT_SORT_KEYS))


def load_state(folder: Path) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    """Read what `save_state` wrote.

    Raises:
        NotFittedError: the folder holds no saved retriever.
    """
    if not (folder / FACTS_FILE).is_file():
        raise NotFittedError(f"{folder} holds no saved retriever ({FACTS_FILE} is missing); train and save one first")
    return load_file(folder / ARRAYS_FILE), orjson.loads((folder / FACTS_FILE).read_bytes())


def as_ids(values: list[str]) -> ObjectArray:
    """Item ids read from JSON as an object array."""
    return np.array(values, dtype=object)


def square_arrays(matrix: sparse.csr_matrix) -> dict[str, Any]:
    """A sparse (items, items) matrix as arrays that `save_state` takes; `square_matrix` reads them."""
    return {
        "values": matrix.data,
        "columns": matrix.indices.astype(np.int32),
        "start": matrix.indptr.astype(np.int64),
    }


def square_matrix(arrays: Mapping[str, Any], count: int) -> sparse.csr_matrix:
    """The sparse (items, items) matrix that `square_arrays` took apart."""
    return sparse.csr_matrix((arrays["values"], arrays["columns"], arrays["start"]), shape=(count, count))
