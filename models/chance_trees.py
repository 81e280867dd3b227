"""Log odds of a rare event from features, by gradient-boosted trees (LightGBM, binary log loss)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from models.boosted_trees import REPEATABLE, lightgbm, read_booster, write_booster
from models.fusion import DoubleArray
from models.interactions import BoolArray, FloatArray

_PARAMETERS = {
    "objective": "binary",
    "num_leaves": 15,
    "learning_rate": 0.05,
    "min_data_in_leaf": 50,
    "min_sum_hessian_in_leaf": 10.0,
    "lambda_l2": 10.0,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    **REPEATABLE,
}


@dataclass(frozen=True)
class ChanceTrees:
    """Fitted trees."""

    booster: Any
    """LightGBM's."""

    @classmethod
    def fit(cls, features: FloatArray, is_hit: BoolArray, weights: DoubleArray, *, trees: int, seed: int) -> Self:
        """Fit on rows, each of which stands for as many as its weight says.

        Args:
            features: Shape (rows, features).
            is_hit: Whether the event came, shape (rows,).
            weights: Shape (rows,), above 0.
            trees: How many.
            seed: Of the rows and features that each tree sees.
        """
        library = lightgbm()
        data = library.Dataset(features, label=is_hit.astype(np.int32), weight=weights)
        return cls(library.train({**_PARAMETERS, "seed": seed}, data, num_boost_round=trees))

    def log_odds(self, features: Sequence[FloatArray]) -> DoubleArray:
        """Log odds, in the common shape of the features; what else is in a batch changes no bits."""
        rows = np.stack([np.asarray(feature, dtype=np.float32).ravel() for feature in features], axis=1)
        if not len(rows):
            return np.zeros(features[0].shape)
        odds = self.booster.predict(rows, raw_score=True, num_threads=1)
        return np.asarray(odds, dtype=np.float64).reshape(features[0].shape)

    def save(self, file: Path) -> None:
        """Write as LightGBM's text."""
        write_booster(self.booster, file)

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read what `save` wrote."""
        return cls(read_booster(file))
