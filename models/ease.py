"""EASE: the closed-form linear item model, the strongest simple baseline on small catalogues.

Solved densely, fitting inverts an (items, items) matrix in float32: about `items ** 2 * 8` bytes at peak (1.2 GB for
12,101 items) and `items ** 3` multiply-adds. What is kept is sparse: the strongest `neighbours` weights of each item.
Solved locally (`models/item_regression.py`), memory is that of the pairs of items which users share.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import linalg, sparse

from models.catalogue import Catalogue
from models.errors import ConfigurationError, DataError
from models.interactions import FloatArray, InteractionLog
from models.item_item import ItemItemRetriever
from models.item_regression import local_weights, pair_gib
from models.retriever import latest_interactions, log_matrix
from models.ties import TIES, Ties

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
    ties: Ties = "ordered"
    """Whether the order of interactions of the same second is believed; see `models/ties.py`."""
    neighbours: int = 200
    """Weights kept for each item, the largest in absolute value; 0: all. On Amazon Beauty 200 lose nothing."""
    max_items: int = 20_000
    """Largest catalogue that is solved densely: 20,000 items take 3.2 GB at peak."""
    solver: Literal["dense", "local", "auto"] = "dense"
    """dense: exact; local: each item from its `candidates`; auto: dense up to `max_items`, local beyond."""
    candidates: int = 100
    """Items that each item may be predicted from when solved locally."""
    max_user_items: int = 300
    """Only so many latest interactions of a user are read when solving locally, which bounds the pairs."""
    max_memory_gib: float = 8.0
    """Data whose pairs may need more are not solved locally."""

    def __post_init__(self) -> None:
        if self.regularization <= 0:
            raise ConfigurationError(f"ease.regularization must be positive, not {self.regularization}")
        if self.ties not in TIES:
            raise ConfigurationError(f"ease.ties must be ordered, unordered or auto, not {self.ties!r}")
        if self.solver not in ("dense", "local", "auto"):
            raise ConfigurationError(f"ease.solver must be dense, local or auto, not {self.solver!r}")
        if self.candidates < 1 or self.max_user_items < 1:
            raise ConfigurationError("ease.candidates and ease.max_user_items must be at least 1")

    def is_local(self, item_count: int) -> bool:
        """Whether a catalogue of this size is solved locally."""
        return self.solver == "local" or (self.solver == "auto" and item_count > self.max_items)

    def reason_to_skip(self, log: InteractionLog) -> str | None:
        """Why this log cannot be fitted within the limits, or None when it can."""
        items = log.item_count
        if not self.is_local(items):
            if items <= self.max_items:
                return None
            return (
                f"{items:,} items are more than ease.max_items ({self.max_items:,}) and would take "
                f"{items**2 * 8 / 1e9:.3g} GB; set ease.solver to 'auto' or 'local', or raise ease.max_items"
            )
        needed = pair_gib(log, self.max_user_items)
        if needed <= self.max_memory_gib:
            return None
        return (
            f"pairs of items may take {needed:.1f} GiB, more than ease.max_memory_gib ({self.max_memory_gib:g}); "
            f"lower ease.max_user_items ({self.max_user_items}) or raise the limit"
        )


class EASERetriever(ItemItemRetriever[EASEConfig]):
    """Weights between items that predict each user's items from the rest (Steck, arXiv 1905.03375)."""

    name = "ease"
    config_class = EASEConfig

    def fit(self, log: InteractionLog, catalogue: Catalogue, *, seed: int = 0) -> None:
        """Solve in closed form; `seed` is unused. BLAS threads may change the last bits.

        Raises:
            DataError: the data do not fit within the limits of the configuration.
        """
        config = self.config
        reason = config.reason_to_skip(log)
        if reason is not None:
            raise DataError(f"the ease retriever cannot be fitted: {reason}")
        weights = _solve_locally(log, config) if config.is_local(log.item_count) else _solve(log, config)
        self._learned(weights, log, catalogue)


def _solve_locally(log: InteractionLog, config: EASEConfig) -> sparse.csr_matrix:
    users_by_item = log_matrix(latest_interactions(log, config.max_user_items))
    gram = sparse.csr_matrix(users_by_item.T @ users_by_item)
    return local_weights(gram, gram, regularization=config.regularization, candidates=config.candidates)


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
