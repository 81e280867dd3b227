"""Collaborative filtering by alternating least squares (`implicit`), with users folded in from their history."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse
from threadpoolctl import threadpool_limits

from models.catalogue import Catalogue
from models.errors import ConfigurationError, NotFittedError
from models.interactions import FloatArray, Histories, InteractionLog, ObjectArray
from models.retriever import as_ids, dot_scores, history_matrix, load_state, log_matrix, realign, row_map, save_state


@dataclass(frozen=True)
class ALSConfig:
    """Settings of `ALSRetriever`."""

    embedding_size: int = 64
    """Dimension of the factors."""
    regularization: float = 1.0
    """L2 penalty."""
    alpha: float = 10.0
    """Confidence of an interaction is `alpha * weight`."""
    epochs: int = 10
    """Alternations."""
    recency_decay: float = 2.0
    """When a user is folded in, an interaction counts `exp(-age / decay)`; 0: all alike."""
    history_length: int = 200
    """Latest interactions of a user that are read when scoring."""

    def __post_init__(self) -> None:
        if self.embedding_size < 1 or self.epochs < 1:
            raise ConfigurationError("als.embedding_size and als.epochs must be at least 1")


class ALSRetriever:
    """Matrix factorisation of the interactions; a user vector is solved for from any history, without a refit."""

    name = "als"

    def __init__(self, config: ALSConfig | None = None) -> None:
        self.config = config or ALSConfig()
        self._factors: FloatArray | None = None
        self._item_ids: ObjectArray = np.empty(0, dtype=object)

    def fit(self, log: InteractionLog, catalogue: Catalogue, *, seed: int) -> None:
        """Factorise; the same seed and number of threads give the same factors."""
        confidences = log_matrix(log, is_binary=False) * self.config.alpha
        with quiet_blas():
            model = self._solver(seed)
            model.fit(confidences, show_progress=False)
        factors = np.asarray(model.item_factors, dtype=np.float32)
        # Items without interactions keep their random start otherwise.
        has_users = np.bincount(log.item_rows, minlength=log.item_count) > 0
        self._factors = np.where(has_users[:, None], factors, np.float32(0))
        self._item_ids = catalogue.item_ids

    def user_vectors(self, histories: Histories) -> FloatArray:
        """Solve one least-squares problem per user; zero for a user without a known history."""
        factors = self.item_vectors()
        config = self.config
        history = history_matrix(
            histories,
            len(factors),
            decay=config.recency_decay,
            length=config.history_length,
            known=np.any(factors != 0, axis=1),
        )
        return fold_in(factors, history, confidence=config.alpha, regularization=config.regularization)

    def item_vectors(self) -> FloatArray:
        """Item factors, shape (items, embedding_size); zero for an item without interactions."""
        if self._factors is None:
            raise NotFittedError("the ALS retriever was used before it was fitted or loaded")
        return self._factors

    def score(self, histories: Histories) -> FloatArray:
        """Dot product of folded-in user and item factors."""
        return dot_scores(self.user_vectors(histories), self.item_vectors())

    def refresh(self, catalogue: Catalogue) -> None:
        """Follow the catalogue; a new item has a zero vector until the next fit."""
        self._factors = realign(self.item_vectors(), row_map(self._item_ids, catalogue.item_ids))
        self._item_ids = catalogue.item_ids

    def save(self, folder: Path) -> None:
        """Write to `folder`."""
        facts = {"config": asdict(self.config), "item_ids": self._item_ids.tolist()}
        save_state(folder, {"factors": self.item_vectors()}, facts)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        arrays, facts = load_state(folder)
        model = cls(ALSConfig(**facts["config"]))
        model._factors, model._item_ids = arrays["factors"], as_ids(facts["item_ids"])
        return model

    def _solver(self, seed: int) -> Any:
        return AlternatingLeastSquares(
            factors=self.config.embedding_size,
            regularization=self.config.regularization,
            iterations=self.config.epochs,
            use_native=True,
            random_state=seed,
            dtype=np.float32,
        )


def fold_in(factors: FloatArray, history: sparse.csr_matrix, *, confidence: float, regularization: float) -> FloatArray:
    """User vectors for fixed item factors: one weighted least-squares problem per user.

    Solves `(Y'Y + Y'(C - I)Y + lambda I) x = Y'C 1` with C = `confidence * history` (Hu, Koren and Volinsky 2008).

    Args:
        factors: Y, shape (items, dimension).
        history: Weighted histories, shape (users, items).
        confidence: Of an interaction of weight 1.
        regularization: Ridge (lambda).

    Returns:
        Shape (users, dimension); zero for a user without a history.
    """
    users, dimension = history.shape[0], factors.shape[1]
    if not history.nnz:
        return np.zeros((users, dimension), dtype=np.float32)
    with quiet_blas():
        solver = AlternatingLeastSquares(factors=dimension, regularization=regularization, dtype=np.float32)
        solver.item_factors = factors
        vectors = solver.recalculate_user(np.arange(users), history * np.float32(confidence))
    return np.asarray(vectors, dtype=np.float32).reshape(users, dimension)


@contextmanager
def quiet_blas() -> Iterator[None]:
    """Keep BLAS at one thread: `implicit` runs its own, slows down tenfold beside others, and warns about them."""
    with threadpool_limits(limits=1, user_api="blas"), warnings.catch_warnings():
        # scipy still accepts the sparse matrices that implicit builds, but says that arrays are preferred.
        warnings.simplefilter("ignore", category=PendingDeprecationWarning)
        yield
