"""Settings of the fusion: which method ranks the candidates, and how it is fitted."""

from dataclasses import dataclass
from typing import Literal

from models.errors import ConfigurationError

Method = Literal["weighted", "rrf", "stacked", "lambdarank"]
METHODS: tuple[Method, ...] = ("weighted", "rrf", "stacked", "lambdarank")
"""Every method, the simplest first."""
AUTO = "auto"


@dataclass(frozen=True)
class FusionConfig:
    """Settings of the fusion."""

    method: str = "weighted"
    """weighted, rrf, stacked, lambdarank, or auto: the best on validation users it was not fitted on."""
    k: int = 10
    """Weights maximise NDCG at `k`."""
    evaluations: int = 120
    """How many weightings are tried."""
    max_users: int = 3_000
    """Validation users that are sampled."""
    resamples: int = 20
    """weighted: with few users, weights are the mean over so many bootstrap samples of them (`models/bagging.py`)."""
    least_gain: float = 0.0
    """weighted: a retriever that adds less NDCG to the others on the validation users gets no weight; 0: each keeps the
    weight that was found for it."""
    folds: int = 3
    """auto: parts of the validation users, each judged by methods fitted on the others."""
    rrf_constant: float = 60.0
    """rrf: added to each rank; the larger, the less the first places stand out."""
    regularization: float = 0.01
    """stacked: L2 on the weights, beside the mean loss of a user."""
    narrow: int = 200
    """lambdarank: the best candidates of the weighted fusion, which alone are ranked again."""
    trees: int = 120
    """lambdarank: number of trees."""
    leaves: int = 15
    """lambdarank: leaves of a tree."""
    learning_rate: float = 0.05
    """lambdarank: shrinkage of each tree."""
    min_leaf: int = 100
    """lambdarank: fewest candidates in a leaf."""

    def __post_init__(self) -> None:
        if self.method not in (*METHODS, AUTO):
            raise ConfigurationError(
                f"fusion.method must be one of {', '.join(METHODS)} or {AUTO}, not {self.method!r}"
            )
        for name in ("k", "evaluations", "max_users", "narrow", "trees", "min_leaf", "resamples"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"fusion.{name} must be at least 1, not {getattr(self, name)}")
        if self.least_gain < 0:
            raise ConfigurationError(f"fusion.least_gain must not be negative, not {self.least_gain}")
        if self.folds < 2 or self.leaves < 2:
            raise ConfigurationError("fusion.folds and fusion.leaves must be at least 2")
        if self.rrf_constant < 0 or self.regularization < 0 or self.learning_rate <= 0:
            raise ConfigurationError(
                "fusion.rrf_constant and fusion.regularization must not be negative, fusion.learning_rate positive"
            )
