"""What retrievers with item factors share: users are folded in from their history, so that none needs a refit."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse

from models.catalogue import Catalogue
from models.cpu_threads import one_blas_thread
from models.errors import NotFittedError
from models.exact_products import exact_products
from models.interactions import BoolArray, FloatArray, Histories, InteractionLog, ObjectArray
from models.retriever import as_ids, history_matrix, load_state, realign, row_map, save_state


class FactorRetriever(ABC):
    """Item factors, and user vectors that are solved for from any history by least squares.

    A subclass names itself and its configuration, which has `recency_decay` and `history_length`, and learns factors.
    """

    name: str
    config_class: ClassVar[Any]

    def __init__(self, config: Any = None) -> None:
        self.config = config or self.config_class()
        self._factors: FloatArray | None = None
        self._item_ids: ObjectArray = np.empty(0, dtype=object)
        self._kept: FoldIn | None = None

    @abstractmethod
    def learned_factors(self, log: InteractionLog, *, seed: int) -> FloatArray:
        """Factors of all items of the log, shape (items, dimension)."""

    @property
    @abstractmethod
    def fold_in_weights(self) -> tuple[float, float]:
        """Confidence of an interaction of weight 1, and ridge, when a user is folded in."""

    def fit(self, log: InteractionLog, catalogue: Catalogue, *, seed: int) -> None:
        """Learn; the same seed and number of threads give the same factors."""
        factors = np.asarray(self.learned_factors(log, seed=seed), dtype=np.float32)
        # Items without interactions keep their random start otherwise.
        has_users = np.bincount(log.item_rows, minlength=log.item_count) > 0
        self._factors = np.where(has_users[:, None], factors, np.float32(0))
        self._item_ids = catalogue.item_ids

    def user_vectors(self, histories: Histories) -> FloatArray:
        """Solve one least-squares problem per user; zero for a user without a known history."""
        fold_in = self._fold_in()
        history = history_matrix(
            histories,
            len(fold_in.factors),
            decay=self.config.recency_decay,
            length=self.config.history_length,
            known=fold_in.known,
        )
        return fold_in.user_vectors(history)

    def _fold_in(self) -> "FoldIn":
        factors = self.item_vectors()
        if self._kept is None or self._kept.factors is not factors:
            confidence, regularization = self.fold_in_weights
            self._kept = FoldIn(factors, confidence=confidence, regularization=regularization)
        return self._kept

    def item_vectors(self) -> FloatArray:
        """Item factors, shape (items, dimension); zero for an item without interactions."""
        if self._factors is None:
            raise NotFittedError(f"the {self.name} retriever was used before it was fitted or loaded")
        return self._factors

    def score(self, histories: Histories) -> FloatArray:
        """Dot product of folded-in user and item factors."""
        return exact_products(self.user_vectors(histories), self.item_vectors())

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
        model = cls(cls.config_class(**facts["config"]))
        model._factors, model._item_ids = arrays["factors"], as_ids(facts["item_ids"])
        return model


class FoldIn:
    """User vectors for fixed item factors: one weighted least-squares problem per user.

    Solves `(Y'Y + Y'(C - I)Y + lambda I) x = Y'C 1` with C = `confidence * history` (Hu, Koren and Volinsky 2008). What
    depends on the factors alone is made once: with many items it costs more than all else.
    """

    def __init__(self, factors: FloatArray, *, confidence: float, regularization: float) -> None:
        """Prepare.

        Args:
            factors: Y, shape (items, dimension).
            confidence: Of an interaction of weight 1.
            regularization: Ridge (lambda).
        """
        self.factors = factors
        self.known: BoolArray = np.any(factors != 0, axis=1)
        """Items that are not 0, shape (items,)."""
        self._confidence = np.float32(confidence)
        with quiet_blas():
            self._solver = AlternatingLeastSquares(
                factors=factors.shape[1], regularization=regularization, dtype=np.float32
            )
            self._solver.item_factors = factors
            # Kept from the first time that it is asked for.
            assert self._solver.YtY is not None

    def user_vectors(self, history: sparse.csr_matrix) -> FloatArray:
        """Shape (users, dimension), zero for a user without a history; of weighted histories, shape (users, items)."""
        shape = (history.shape[0], self.factors.shape[1])
        if not history.nnz:
            return np.zeros(shape, dtype=np.float32)
        with quiet_blas():
            vectors = self._solver.recalculate_user(np.arange(shape[0]), history * self._confidence)
        return np.asarray(vectors, dtype=np.float32).reshape(shape)


@contextmanager
def quiet_blas() -> Iterator[None]:
    """Keep BLAS at one thread: `implicit` runs its own, slows down tenfold beside others, and warns about them."""
    with one_blas_thread(), warnings.catch_warnings():
        # scipy still accepts the sparse matrices that implicit builds, but says that arrays are preferred.
        warnings.simplefilter("ignore", category=PendingDeprecationWarning)
        yield
