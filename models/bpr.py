"""Bayesian personalised ranking (`implicit`), with users folded in from their history."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from threadpoolctl import threadpool_limits

from models.als import fold_in
from models.catalogue import Catalogue
from models.errors import ConfigurationError, NotFittedError
from models.interactions import FloatArray, Histories, InteractionLog, ObjectArray
from models.retriever import as_ids, dot_scores, history_matrix, load_state, log_matrix, realign, row_map, save_state


@dataclass(frozen=True)
class BPRConfig:
    """Settings of `BPRRetriever`."""

    embedding_size: int = 64
    """Dimension of the factors; each item vector has one number more, its bias."""
    learning_rate: float = 0.05
    """Step of the gradient descent."""
    regularization: float = 0.01
    """L2 penalty while the factors are learned."""
    epochs: int = 300
    """Passes over the interactions."""
    confidence: float = 10.0
    """When a user is folded in, an interaction of weight 1 counts so much more than an item that was not taken."""
    fold_in_regularization: float = 1.0
    """L2 penalty when a user is folded in."""
    recency_decay: float = 2.0
    """When a user is folded in, an interaction counts `exp(-age / decay)`; 0: all alike."""
    history_length: int = 200
    """Latest interactions of a user that are read when scoring."""

    def __post_init__(self) -> None:
        if self.embedding_size < 1 or self.epochs < 1:
            raise ConfigurationError("bpr.embedding_size and bpr.epochs must be at least 1")
        if self.confidence <= 0 or self.fold_in_regularization <= 0:
            raise ConfigurationError("bpr.confidence and bpr.fold_in_regularization must be positive")


class BPRRetriever:
    """Item factors that rank what users took above what they did not (Rendle et al. 2009).

    The user vectors that training makes are thrown away: any history, of a known user or a new one, is folded in by
    the same least squares as in ALS, the bias being one more dimension.
    """

    name = "bpr"

    def __init__(self, config: BPRConfig | None = None) -> None:
        self.config = config or BPRConfig()
        self._factors: FloatArray | None = None
        self._item_ids: ObjectArray = np.empty(0, dtype=object)

    def fit(self, log: InteractionLog, catalogue: Catalogue, *, seed: int) -> None:
        """Learn by stochastic gradient descent on one thread, so that equal seeds give equal factors."""
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        model = BayesianPersonalizedRanking(
            factors=self.config.embedding_size,
            learning_rate=self.config.learning_rate,
            regularization=self.config.regularization,
            iterations=self.config.epochs,
            dtype=np.float32,
            num_threads=1,
            random_state=seed,
        )
        with threadpool_limits(limits=1, user_api="blas"):
            model.fit(log_matrix(log), show_progress=False)
        has_users = np.bincount(log.item_rows, minlength=log.item_count) > 0
        factors = np.asarray(model.item_factors, dtype=np.float32)
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
        return fold_in(factors, history, confidence=config.confidence, regularization=config.fold_in_regularization)

    def item_vectors(self) -> FloatArray:
        """Item factors and bias, shape (items, embedding_size + 1); zero for an item without interactions."""
        if self._factors is None:
            raise NotFittedError("the bpr retriever was used before it was fitted or loaded")
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
        model = cls(BPRConfig(**facts["config"]))
        model._factors, model._item_ids = arrays["factors"], as_ids(facts["item_ids"])
        return model
