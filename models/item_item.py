"""What retrievers that keep a sparse (items, items) matrix of weights have in common."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
from scipy import sparse

from models.catalogue import Catalogue
from models.errors import NotFittedError
from models.interactions import FloatArray, Histories, IntArray, InteractionLog, ObjectArray
from models.retriever import (
    as_ids,
    history_matrix,
    load_state,
    pair_values,
    realign_square,
    row_map,
    save_state,
    square_arrays,
    square_matrix,
)
from models.ties import Ties, resolved_ties


class HistoryConfig(Protocol):
    """How a history is read when it is scored."""

    @property
    def recency_decay(self) -> float:
        """A history item counts `exp(-age / decay)`, age by place from the end; 0: all alike."""

    @property
    def history_length(self) -> int:
        """Latest interactions of a user that are read."""

    @property
    def ties(self) -> Ties:
        """Whether interactions of the same second are told apart."""


ConfigT = TypeVar("ConfigT", bound=HistoryConfig)


class ItemItemRetriever(Generic[ConfigT]):
    """Scores are the recency-weighted history times a sparse matrix; a subclass says how the matrix is learned.

    A subclass sets `name` and `config_class`, and its `fit` ends in `_learned`.
    """

    name: str
    config_class: ClassVar[type[Any]]

    def __init__(self, config: ConfigT | None = None) -> None:
        self.config: ConfigT = config or self.config_class()
        self._weights: sparse.csr_matrix | None = None
        self._item_ids: ObjectArray = np.empty(0, dtype=object)
        self._ties: Ties = self.config.ties

    def _learned(self, weights: sparse.csr_matrix, log: InteractionLog, catalogue: Catalogue) -> None:
        """Keep what `fit` found."""
        self._weights, self._item_ids = weights, catalogue.item_ids
        self._ties = resolved_ties(self.config.ties, log)

    def weights(self) -> sparse.csr_matrix:
        """Weight of each history item (row) for each item (column), shape (items, items)."""
        if self._weights is None:
            raise NotFittedError(f"the {self.name} retriever was used before it was fitted or loaded")
        return self._weights

    def score(self, histories: Histories) -> FloatArray:
        """Recency-weighted sum of the weights of the history."""
        return np.asarray(self.sparse_scores(histories).toarray(), dtype=np.float32)

    def sparse_scores(self, histories: Histories) -> sparse.csr_matrix:
        """The scores of `score` without its zeros, shape (users, items)."""
        weights = self.weights()
        config = self.config
        history = history_matrix(
            histories,
            weights.shape[0],
            decay=config.recency_decay,
            length=config.history_length,
            ties=self._ties,
        )
        return sparse.csr_matrix(history @ weights, dtype=np.float32)

    def similarity(self, history: IntArray, items: IntArray) -> FloatArray:
        """Weight of pairs of items, 0 where none is kept."""
        return pair_values(self.weights(), history, items)

    def refresh(self, catalogue: Catalogue) -> None:
        """Follow the catalogue; a new item has no weights until the next fit."""
        self._weights = realign_square(self.weights(), row_map(self._item_ids, catalogue.item_ids))
        self._item_ids = catalogue.item_ids

    def save(self, folder: Path) -> None:
        """Write to `folder`."""
        settings: Any = self.config
        facts = {"config": asdict(settings), "item_ids": self._item_ids.tolist(), "ties": self._ties}
        save_state(folder, square_arrays(self.weights()), facts)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        arrays, facts = load_state(folder)
        model = cls(cls.config_class(**facts["config"]))
        model._item_ids = as_ids(facts["item_ids"])
        model._weights = square_matrix(arrays, len(model._item_ids))
        model._ties = facts.get("ties", "ordered")
        return model
