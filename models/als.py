"""Collaborative filtering by alternating least squares (`implicit`), with users folded in from their history."""

from dataclasses import dataclass

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares

from models.errors import ConfigurationError
from models.interactions import FloatArray, InteractionLog
from models.item_factors import FactorRetriever, quiet_blas
from models.retriever import log_matrix


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


class ALSRetriever(FactorRetriever):
    """Matrix factorisation of the interactions; a user vector is solved for from any history, without a refit."""

    name = "als"
    config_class = ALSConfig

    def learned_factors(self, log: InteractionLog, *, seed: int) -> FloatArray:
        """Factorise the weighted interactions."""
        with quiet_blas():
            model = AlternatingLeastSquares(
                factors=self.config.embedding_size,
                regularization=self.config.regularization,
                iterations=self.config.epochs,
                use_native=True,
                random_state=seed,
                dtype=np.float32,
            )
            model.fit(log_matrix(log, is_binary=False) * self.config.alpha, show_progress=False)
        return np.asarray(model.item_factors, dtype=np.float32)

    @property
    def fold_in_weights(self) -> tuple[float, float]:
        """Those of the factorisation."""
        return self.config.alpha, self.config.regularization
