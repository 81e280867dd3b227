"""Bayesian personalised ranking (`implicit`), with users folded in from their history."""

from dataclasses import dataclass

import numpy as np

from models.errors import ConfigurationError
from models.interactions import FloatArray, InteractionLog
from models.item_factors import FactorRetriever, quiet_blas
from models.retriever import log_matrix


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


class BPRRetriever(FactorRetriever):
    """Item factors that rank what users took above what they did not (Rendle et al. 2009).

    The user vectors that training makes are thrown away: any history, of a known user or a new one, is folded in by
    the same least squares as in ALS, the bias being one more dimension.
    """

    name = "bpr"
    config_class = BPRConfig

    def learned_factors(self, log: InteractionLog, *, seed: int) -> FloatArray:
        """Factors and bias, by stochastic gradient descent on one thread, so that equal seeds give equal factors."""
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
        with quiet_blas():
            model.fit(log_matrix(log), show_progress=False)
        return np.asarray(model.item_factors, dtype=np.float32)

    @property
    def fold_in_weights(self) -> tuple[float, float]:
        """Those of the configuration for folding in."""
        return self.config.confidence, self.config.fold_in_regularization
