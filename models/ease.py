"""EASE: the closed-form linear item model, the strongest simple baseline on small catalogues.

Fitting inverts an (items, items) matrix in float32: about `items ** 2 * 8` bytes at peak (1.2 GB for 12,101 items)
and `items ** 3` multiply-adds. What is kept is sparse: the strongest `neighbours` weights of each item.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from scipy import linalg, sparse

from models.catalogue import Catalogue
from models.errors import ConfigurationError, DataError, NotFittedError
from models.interactions import FloatArray, Histories, IntArray, InteractionLog, ObjectArray
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

ROWS_PER_BLOCK = 1_024


@dataclass(frozen=True)
class EASEConfig:
    """Settings of `EASERetriever`."""

    regularization: float = 150.0
    """L2 penalty on the diagonal (lambda)."""
    recency_decay: float = 2.0
    """A history item counts `exp(-age / decay)`, age by place from the end; 0: all alike."""
    history_length: int = 50
    """Latest interactions of a user that are read when scoring."""
    neighbours: int = 200
    """Weights kept for each item, the largest in absolute value; 0: all. On Amazon Beauty 200 lose nothing."""
    max_items: int = 20_000
    """Largest catalogue that is fitted: 20,000 items take 3.2 GB at peak."""

    def __post_init__(self) -> None:
        if self.regularization <= 0:
            raise ConfigurationError(f"ease.regularization must be positive, not {self.regularization}")


class EASERetriever:
    """Weights between items that predict each user's items from the rest (Steck, arXiv 1905.03375)."""

    name = "ease"

    def __init__(self, config: EASEConfig | None = None) -> None:
        self.config = config or EASEConfig()
        self._weights: sparse.csr_matrix | None = None
        self._item_ids: ObjectArray = np.empty(0, dtype=object)

    def fit(self, log: InteractionLog, catalogue: Catalogue, *, seed: int = 0) -> None:
        """Solve in closed form; `seed` is unused. BLAS threads may change the last bits.

        Raises:
            DataError: the catalogue has more than `max_items` items.
        """
        if catalogue.count > self.config.max_items:
            gigabytes = catalogue.count**2 * 8 / 1e9
            raise DataError(
                f"EASE on {catalogue.count:,} items would take {gigabytes:.1f} GB; the limit is "
                f"{self.config.max_items:,} items: take 'ease' out of the retrievers or raise ease.max_items"
            )
        self._weights = _solve(log, self.config)
        self._item_ids = catalogue.item_ids

    def weights(self) -> sparse.csr_matrix:
        """Weight of each history item (row) for each item (column), shape (items, items)."""
        if self._weights is None:
            raise NotFittedError("the EASE retriever was used before it was fitted or loaded")
        return self._weights

    def score(self, histories: Histories) -> FloatArray:
        """Recency-weighted sum of the weights of the history."""
        weights = self.weights()
        config = self.config
        history = history_matrix(histories, weights.shape[0], decay=config.recency_decay, length=config.history_length)
        return np.asarray((history @ weights).toarray(), dtype=np.float32)

    def similarity(self, history: IntArray, items: IntArray) -> FloatArray:
        """Weight of pairs of items."""
        return pair_values(self.weights(), history, items)

    def refresh(self, catalogue: Catalogue) -> None:
        """Follow the catalogue; a new item has no weights until the next fit."""
        self._weights = realign_square(self.weights(), row_map(self._item_ids, catalogue.item_ids))
        self._item_ids = catalogue.item_ids

    def save(self, folder: Path) -> None:
        """Write to `folder`."""
        arrays = square_arrays(self.weights())
        save_state(folder, arrays, {"config": asdict(self.config), "item_ids": self._item_ids.tolist()})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        arrays, facts = load_state(folder)
        model = cls(EASEConfig(**facts["config"]))
        model._item_ids = as_ids(facts["item_ids"])
        model._weights = square_matrix(arrays, len(model._item_ids))
        return model


def _solve(log: InteractionLog, config: EASEConfig) -> sparse.csr_matrix:
    """B = I - P / diag(P) with P = (X'X + lambda I)^-1, sparsified block by block."""
    users_by_item = log_matrix(log)
    gram = np.asarray((users_by_item.T @ users_by_item).toarray(order="F"), dtype=np.float32)
    gram[np.diag_indices(len(gram))] += np.float32(config.regularization)
    factor, failed = linalg.lapack.spotrf(gram, lower=1, overwrite_a=1, clean=0)
    inverse, not_inverted = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed or not_inverted:
        raise DataError(f"EASE could not invert its matrix; raise ease.regularization above {config.regularization}")
    diagonal = np.diag(inverse).copy()
    return sparse.csr_matrix(
        sparse.vstack(
            [
                _weight_rows(inverse, diagonal, begin, config.neighbours)
                for begin in range(0, len(diagonal), ROWS_PER_BLOCK)
            ]
        )
    )


def _weight_rows(inverse: FloatArray, diagonal: FloatArray, begin: int, neighbours: int) -> sparse.csr_matrix:
    """Rows `begin:` of B, with the strongest weights only. Only the lower triangle of `inverse` is filled."""
    end = min(begin + ROWS_PER_BLOCK, len(diagonal))
    rows = np.empty((end - begin, len(diagonal)), dtype=np.float32)
    rows[:, :end] = inverse[begin:end, :end]
    rows[:, end:] = inverse[end:, begin:end].T
    square = np.tril(rows[:, begin:end])
    rows[:, begin:end] = square + np.tril(square, -1).T
    rows /= -diagonal[None, :]
    rows[np.arange(end - begin), np.arange(begin, end)] = 0
    if 0 < neighbours < len(diagonal):
        strength = np.abs(rows)
        least = np.partition(strength, len(diagonal) - neighbours, axis=1)[:, [len(diagonal) - neighbours]]
        rows[strength < least] = 0
    return sparse.csr_matrix(rows)
