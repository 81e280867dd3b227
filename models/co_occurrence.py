"""Item co-occurrence (ItemKNN): items that the same users engaged with."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from scipy import sparse

from models.catalogue import Catalogue
from models.errors import ConfigurationError, NotFittedError
from models.interactions import FloatArray, Histories, IntArray, InteractionLog, LongArray, ObjectArray
from models.retriever import (
    as_ids,
    history_matrix,
    load_state,
    log_matrix,
    pair_values,
    realign_square,
    row_map,
    save_state,
    square_arrays,
    square_matrix,
)

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
    max_user_items: int = 300
    """Only so many latest interactions of a user are counted, which bounds the cost of heavy users."""

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ConfigurationError(f"co_occurrence.neighbours must be at least 1, not {self.neighbours}")


class CoOccurrenceRetriever:
    """Cosine between the sets of users of two items, summed over the history with recency weights."""

    name = "co_occurrence"

    def __init__(self, config: CoOccurrenceConfig | None = None) -> None:
        self.config = config or CoOccurrenceConfig()
        self._neighbours: sparse.csr_matrix | None = None
        self._item_ids: ObjectArray = np.empty(0, dtype=object)

    def fit(self, log: InteractionLog, catalogue: Catalogue, *, seed: int = 0) -> None:
        """Count pairs block by block, so that memory stays bounded; `seed` is unused."""
        latest = log.select(_is_latest(log, self.config.max_user_items))
        users_by_item = log_matrix(latest)
        lengths = np.asarray(users_by_item.sum(axis=0)).ravel()
        scale = np.divide(1, np.sqrt(lengths), out=np.zeros_like(lengths), where=lengths > 0)
        unit = sparse.csr_matrix(users_by_item @ sparse.diags(scale.astype(np.float32)))
        by_item = sparse.csr_matrix(unit.T)
        blocks = [
            _strongest(by_item[begin : begin + ITEMS_PER_BLOCK] @ unit, begin, self.config.neighbours)
            for begin in range(0, log.item_count, ITEMS_PER_BLOCK)
        ]
        self._neighbours = sparse.csr_matrix(sparse.vstack(blocks), dtype=np.float32)
        self._item_ids = catalogue.item_ids

    def neighbours(self) -> sparse.csr_matrix:
        """Cosine of each item (row) with its neighbours (columns), shape (items, items)."""
        if self._neighbours is None:
            raise NotFittedError("the co-occurrence retriever was used before it was fitted or loaded")
        return self._neighbours

    def score(self, histories: Histories) -> FloatArray:
        """Recency-weighted sum of the cosines with the history."""
        matrix = self.neighbours()
        config = self.config
        history = history_matrix(histories, matrix.shape[0], decay=config.recency_decay, length=config.history_length)
        return np.asarray((history @ matrix).toarray(), dtype=np.float32)

    def similarity(self, history: IntArray, items: IntArray) -> FloatArray:
        """Cosine of pairs of items, 0 where they are no neighbours."""
        return pair_values(self.neighbours(), history, items)

    def refresh(self, catalogue: Catalogue) -> None:
        """Follow the catalogue; a new item has no neighbours until it is fitted again."""
        self._neighbours = realign_square(self.neighbours(), row_map(self._item_ids, catalogue.item_ids))
        self._item_ids = catalogue.item_ids

    def save(self, folder: Path) -> None:
        """Write to `folder`."""
        arrays = square_arrays(self.neighbours())
        save_state(folder, arrays, {"config": asdict(self.config), "item_ids": self._item_ids.tolist()})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        arrays, facts = load_state(folder)
        model = cls(CoOccurrenceConfig(**facts["config"]))
        model._item_ids = as_ids(facts["item_ids"])
        model._neighbours = square_matrix(arrays, len(model._item_ids))
        return model


def _is_latest(log: InteractionLog, count: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether an interaction is among the `count` latest of its user."""
    ends: LongArray = np.repeat(log.start[1:], np.diff(log.start))
    return ends - np.arange(len(log.item_rows)) <= count


def _strongest(block: sparse.csr_matrix, first_row: int, count: int) -> sparse.csr_matrix:
    """The `count` highest entries of each row without the diagonal; ties go to the lower column."""
    entries = sparse.coo_matrix(block)
    is_other = entries.col != entries.row + first_row
    rows, columns, values = entries.row[is_other], entries.col[is_other], entries.data[is_other]
    order = np.lexsort((columns, -values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    starts = np.searchsorted(rows, np.arange(block.shape[0]))
    keep = np.arange(len(rows)) - starts[rows] < count
    kept = sparse.csr_matrix((values[keep], (rows[keep], columns[keep])), shape=block.shape, dtype=np.float32)
    kept.sort_indices()
    return kept
