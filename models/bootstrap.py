"""Bootstrap intervals of means over users, and the paired comparison of two models."""

from dataclasses import dataclass

import numpy as np

from models.errors import DataError
from models.metrics import DoubleArray, mean

_CHUNK_WEIGHTS = 10_000_000
"""Resampling weights held at a time, 40 MB."""


@dataclass(frozen=True)
class Interval:
    """A mean over users with its 95 % percentile bootstrap interval; NaN where no user defines it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Such as `.0512 [.0490, .0534]`."""
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True)
class Comparison:
    """Difference of two models on the same users: ours less theirs."""

    metric: str
    users: int
    difference: float
    low: float
    high: float
    effect_size: float
    """Mean of the per-user differences over their standard deviation (Cohen's d for pairs); 0 if all are equal."""
    share_better: float
    """Share of the users for whom ours is better."""
    share_worse: float

    @property
    def is_better(self) -> bool:
        """Whether the whole interval lies above 0."""
        return self.low > 0

    @property
    def is_worse(self) -> bool:
        """Whether the whole interval lies below 0."""
        return self.high < 0

    @property
    def verdict(self) -> str:
        """The comparison in one word or two."""
        return "better" if self.is_better else "worse" if self.is_worse else "no clear difference"


def bootstrap_means(values: DoubleArray, *, seed: int, samples: int = 1000) -> DoubleArray:
    """Means of resampled users.

    Args:
        values: Shape (users, columns); NaN entries are left out of their column's mean.
        seed: Seed of the resampling; the same seed draws the same users, whatever the columns.
        samples: Number of resamples.

    Returns:
        Shape (samples, columns); NaN where a resample holds no defined value.
    """
    users = len(values)
    defined = ~np.isnan(values)
    filled = np.where(defined, values, 0.0).astype(np.float32)
    is_defined = defined.astype(np.float32)
    rng = np.random.default_rng(seed)
    means = np.full((samples, values.shape[1]), np.nan)
    step = max(1, _CHUNK_WEIGHTS // max(users, 1))
    for begin in range(0, samples if users else 0, step):
        rows = min(step, samples - begin)
        drawn = rng.integers(0, users, size=(rows, users)) + np.arange(rows)[:, None] * users
        # How often each user was drawn; a matrix product then sums all columns at once.
        weights = np.bincount(drawn.ravel(), minlength=rows * users).reshape(rows, users).astype(np.float32)
        counts = (weights @ is_defined).astype(np.float64)
        np.divide(weights @ filled, counts, out=means[begin : begin + rows], where=counts > 0)
    return means


def bootstrap_intervals(values: DoubleArray, *, seed: int, samples: int = 1000) -> list[Interval]:
    """One interval for each column of `values`, see `bootstrap_means`."""
    resampled = bootstrap_means(values, seed=seed, samples=samples)
    return [
        Interval(mean(column), *_percentiles(means[~np.isnan(means)]))
        for column, means in zip(values.T, resampled.T, strict=True)
    ]


def compare_paired(
    metric: str, ours: DoubleArray, theirs: DoubleArray, *, seed: int, samples: int = 1000
) -> Comparison:
    """Compare two models' values of one metric, user by user.

    Args:
        metric: Name, for the record.
        ours: One value per user.
        theirs: Values of the other model for the same users in the same order.
        seed: Seed of the resampling.
        samples: Number of resamples.

    Raises:
        DataError: the numbers of users differ.
    """
    if len(ours) != len(theirs):
        raise DataError(f"cannot pair {len(ours)} users with {len(theirs)}; evaluate both on the same holdout")
    differences = ours - theirs
    differences = differences[~np.isnan(differences)]
    interval = bootstrap_intervals(differences[:, None], seed=seed, samples=samples)[0]
    deviation = float(differences.std()) if len(differences) else 0.0
    return Comparison(
        metric=metric,
        users=len(differences),
        difference=interval.value,
        low=interval.low,
        high=interval.high,
        effect_size=interval.value / deviation if deviation > 0 else 0.0,
        share_better=mean((differences > 0).astype(np.float64)),
        share_worse=mean((differences < 0).astype(np.float64)),
    )


def _percentiles(means: DoubleArray) -> tuple[float, float]:
    if not len(means):
        return float("nan"), float("nan")
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
