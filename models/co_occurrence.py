"""Item co-occurrence (ItemKNN): items that the same users engaged with."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import sparse

from models.catalogue import Catalogue
from models.errors import ConfigurationError
from models.interactions import FloatArray, InteractionLog
from models.item_item import ItemItemRetriever
from models.retriever import latest_interactions, log_matrix
from models.ties import TIES, Ties

ITEMS_PER_BLOCK = 2_048


@dataclass(frozen=True)
class CoOccurrenceConfig:
    """Settings of `CoOccurrenceRetriever`."""

    neighbours: int = 200
    """Neighbours kept for each item."""
    recency_decay: float = 2.0
    """A history item counts `exp(-age / decay)`, age by place from the end; 0: all alike."""
    history_length: int = 50
    """Latest interactions of a user that are read when scoring."""
    ties: Ties = "ordered"
    """Whether the order of interactions of the same second is believed; see `models/ties.py`."""
    max_user_items: int = 300
    """Only so many latest interactions of a user are counted, which bounds the cost of heavy users."""

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ConfigurationError(f"co_occurrence.neighbours must be at least 1, not {self.neighbours}")
        if self.ties not in TIES:
            raise ConfigurationError(f"co_occurrence.ties must be ordered, unordered or auto, not {self.ties!r}")


class CoOccurrenceRetriever(ItemItemRetriever[CoOccurrenceConfig]):
    """Cosine between the sets of users of two items, summed over the history with recency weights."""

    name = "co_occurrence"
    config_class = CoOccurrenceConfig

    def fit(self, log: InteractionLog, catalogue: Catalogue, *, seed: int = 0) -> None:
        """Count pairs block by block, so that memory stays bounded; `seed` is unused."""
        latest = latest_interactions(log, self.config.max_user_items)
        users_by_item = log_matrix(latest)
        lengths = np.asarray(users_by_item.sum(axis=0)).ravel()
        scale = np.divide(1, np.sqrt(lengths), out=np.zeros_like(lengths), where=lengths > 0)
        unit = sparse.csr_matrix(users_by_item @ sparse.diags(scale.astype(np.float32)))
        by_item = sparse.csr_matrix(unit.T)
        blocks = [
            strongest_in_rows(by_item[begin : begin + ITEMS_PER_BLOCK] @ unit, begin, self.config.neighbours)
            for begin in range(0, log.item_count, ITEMS_PER_BLOCK)
        ]
        self._learned(sparse.csr_matrix(sparse.vstack(blocks), dtype=np.float32), log, catalogue)

    def neighbours(self) -> sparse.csr_matrix:
        """Cosine of each item (row) with its neighbours (columns), shape (items, items)."""
        return self.weights()


def strongest_in_rows(block: sparse.csr_matrix, first_row: int, count: int) -> sparse.csr_matrix:
    """The `count` highest entries of each row without the diagonal; ties go to the lower column.

    Args:
        block: Some rows of a square matrix, float32, no entry twice.
        first_row: Row of the square matrix that is the block's first.
        count: How many.
    """
    rows, columns, values = _reaching_entries(block, first_row, count)
    order = np.lexsort((columns, -values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    starts = np.searchsorted(rows, np.arange(block.shape[0]))
    keep = np.arange(len(rows)) - starts[rows] < count
    kept = sparse.csr_matrix((values[keep], (rows[keep], columns[keep])), shape=block.shape, dtype=np.float32)
    kept.sort_indices()
    return kept


def _reaching_entries(
    block: sparse.csr_matrix, first_row: int, count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], FloatArray]:
    """Rows, columns and values off the diagonal that reach their row's `count`-th highest value: few are to be sorted.

    Most entries of a block are far below: 40 in 41 where each item was met beside 8,000 others.
    """
    places, lengths = [np.zeros(0, dtype=np.int64)], np.zeros(block.shape[0], dtype=np.int64)
    for row, (begin, end) in enumerate(pairwise(block.indptr.tolist())):
        values = block.data[begin:end]
        is_chosen = block.indices[begin:end] != row + first_row
        # One more than `count`, since the diagonal may be among them.
        if end - begin > count + 1:
            place = end - begin - count - 1
            is_chosen &= values >= np.partition(values, place)[place]
        chosen = np.flatnonzero(is_chosen) + begin
        places.append(chosen)
        lengths[row] = len(chosen)
    kept = np.concatenate(places)
    return np.repeat(np.arange(block.shape[0]), lengths), block.indices[kept].astype(np.int64), block.data[kept]
