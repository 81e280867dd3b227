"""Evaluation of ranked lists on a holdout: overall, by slice, with intervals; comparison of two models."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd

from models.beyond_accuracy import catalogue_effects, popularity_counts
from models.bootstrap import Comparison, Interval, bootstrap_intervals, compare_paired
from models.catalogue import Catalogue
from models.errors import DataError
from models.interactions import BoolArray, IntArray, InteractionLog, LongArray, ObjectArray
from models.metrics import DoubleArray, judge, metrics_per_user, ndcg, recall
from models.splitting import Holdout, Targets

HISTORY_BOUNDS = (1, 5, 20)
"""Where the groups of users by history length begin; below the first are the new users."""

HEAD_SHARE = 0.2
"""Share of the items, most popular first, that counts as the head; the rest with interactions is the tail."""

MOST_SEGMENTS = 8
"""Segments beyond the largest so many are taken together as `(other)`."""


@dataclass(frozen=True)
class SliceResult:
    """Metrics of one slice of users, or of all users on one slice of the targets."""

    group: str
    """history, items or segment."""
    name: str
    users: int
    metrics: dict[str, Interval]


@dataclass(frozen=True)
class EvaluationResult:
    """What one model's lists are worth on one holdout."""

    user_ids: ObjectArray
    metrics: dict[str, Interval]
    effects: dict[str, float]
    """Coverage, novelty, diversity, popularity bias, Gini, share of cold items."""
    slices: list[SliceResult]
    per_user: dict[str, DoubleArray] = field(repr=False)

    @property
    def users(self) -> int:
        """Number of evaluated users."""
        return len(self.user_ids)

    def to_frame(self) -> pd.DataFrame:
        """One row per slice and metric: `group, slice, users, metric, value, low, high`; overall has group `all`."""
        rows = [("all", "all", self.users, name, *_values(interval)) for name, interval in self.metrics.items()]
        rows += [("all", "all", self.users, name, value, math.nan, math.nan) for name, value in self.effects.items()]
        for part in self.slices:
            rows += [(part.group, part.name, part.users, name, *_values(i)) for name, i in part.metrics.items()]
        return pd.DataFrame(rows, columns=["group", "slice", "users", "metric", "value", "low", "high"])

    def to_dict(self) -> dict[str, object]:
        """Plain values without the per-user arrays; what is undefined is None."""
        plain = {
            "users": self.users,
            "metrics": {name: asdict(interval) for name, interval in self.metrics.items()},
            "effects": self.effects,
            "slices": [asdict(part) for part in self.slices],
        }
        return {key: _without_nan(value) for key, value in plain.items()}

    def to_json(self) -> str:
        """`to_dict` as JSON with sorted keys."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True)


def evaluate(
    ranked: IntArray,
    holdout: Holdout,
    train: InteractionLog,
    catalogue: Catalogue,
    *,
    ks: Sequence[int] = (5, 10, 20),
    seed: int,
    bootstrap: int = 1000,
) -> EvaluationResult:
    """Evaluate lists on a holdout.

    Args:
        ranked: Item rows, best first, shape (users, places), -1 behind the end; row `i` is for
            `holdout.user_rows[i]`.
        holdout: Histories and targets.
        train: What the model was fitted on; defines head, tail and cold items.
        catalogue: Categories and embeddings for diversity.
        ks: Cut-offs.
        seed: Seed of the bootstrap.
        bootstrap: Number of resamples.

    Raises:
        DataError: the lists do not fit the holdout.
    """
    if len(ranked) != holdout.count:
        raise DataError(f"{len(ranked)} ranked lists for {holdout.count} users of the holdout")
    per_user = metrics_per_user(ranked, holdout.targets, ks)
    columns = dict(per_user)
    slices = _slices(ranked, holdout, popularity_counts(train), per_user, ks)
    for (group, name), metrics in slices.items():
        columns.update({f"{group}/{name}/{metric}": values for metric, values in metrics.items()})
    intervals = dict(zip(columns, bootstrap_intervals(_stacked(columns), seed=seed, samples=bootstrap), strict=True))
    return EvaluationResult(
        user_ids=holdout.history.user_ids[holdout.user_rows],
        metrics={name: intervals[name] for name in per_user},
        effects=catalogue_effects(ranked, train, catalogue.categories, catalogue.embeddings, ks),
        slices=[
            SliceResult(
                group,
                name,
                int((~np.isnan(next(iter(metrics.values())))).sum()),
                {metric: intervals[f"{group}/{name}/{metric}"] for metric in metrics},
            )
            for (group, name), metrics in slices.items()
        ],
        per_user=per_user,
    )


def compare(
    ours: EvaluationResult, theirs: EvaluationResult, *, metric: str = "ndcg@10", seed: int, bootstrap: int = 1000
) -> Comparison:
    """Compare two models on the same holdout, user by user.

    Raises:
        DataError: they were evaluated on different users, or lack the metric.
    """
    if not np.array_equal(ours.user_ids, theirs.user_ids):
        raise DataError("the two models were evaluated on different users; evaluate both on the same split")
    for result in (ours, theirs):
        if metric not in result.per_user:
            raise DataError(f"no metric {metric!r}; there are {', '.join(result.per_user)}")
    return compare_paired(metric, ours.per_user[metric], theirs.per_user[metric], seed=seed, samples=bootstrap)


def item_groups(counts: LongArray) -> dict[str, BoolArray]:
    """Head, tail and cold items by training interactions, each a mask over the catalogue.

    The head is the most popular fifth of the items that have interactions, ties by row.
    """
    warm = np.flatnonzero(counts > 0)
    head = warm[np.argsort(-counts[warm], kind="stable")][: math.ceil(len(warm) * HEAD_SHARE)]
    is_head = np.zeros(len(counts), dtype=bool)
    is_head[head] = True
    return {"head": is_head, "tail": (counts > 0) & ~is_head, "cold": counts == 0}


def _slices(
    ranked: IntArray, holdout: Holdout, counts: LongArray, per_user: dict[str, DoubleArray], ks: Sequence[int]
) -> dict[tuple[str, str], dict[str, DoubleArray]]:
    """Per-user recall and NDCG of each slice; NaN for users outside it. Slices without users are left out."""
    chosen = {name: values for name, values in per_user.items() if name.split("@")[0] in ("recall", "ndcg")}
    slices: dict[tuple[str, str], dict[str, DoubleArray]] = {}
    for key, members in (_history_groups(holdout) | _segment_groups(holdout)).items():
        if members.any():
            slices[key] = {name: np.where(members, values, np.nan) for name, values in chosen.items()}
    for group, is_member in item_groups(counts).items():
        targets = _restricted(holdout.targets, is_member)
        if len(targets.item_rows):
            judgements = judge(ranked, targets)
            slices["items", group] = {
                f"{metric.__name__}@{k}": metric(judgements, k) for metric in (recall, ndcg) for k in ks
            }
    return slices


def _history_groups(holdout: Holdout) -> dict[tuple[str, str], BoolArray]:
    lengths = np.diff(holdout.history.start)[holdout.user_rows]
    bounds = (0, *HISTORY_BOUNDS, np.iinfo(np.int64).max)
    return {
        ("history", _history_name(low, high)): (lengths >= low) & (lengths < high) for low, high in pairwise(bounds)
    }


def _history_name(low: int, high: int) -> str:
    if low == 0:
        return "new (0)"
    return f"{low}+" if high == np.iinfo(np.int64).max else f"{low}-{high - 1}"


def _segment_groups(holdout: Holdout) -> dict[tuple[str, str], BoolArray]:
    """Users by segment; nothing where the domain has no segments."""
    segments = holdout.history.segments[holdout.user_rows].astype(str)
    names, counts = np.unique(segments, return_counts=True)
    if not (names != "").any():
        return {}
    largest = names[np.argsort(-counts, kind="stable")][:MOST_SEGMENTS]
    groups = {("segment", str(name) or "(none)"): segments == name for name in largest}
    groups["segment", "(other)"] = ~np.isin(segments, largest)
    return groups


def _restricted(targets: Targets, is_member: BoolArray) -> Targets:
    """Only the targets that are members; users stay, possibly with none."""
    keep = is_member[targets.item_rows]
    counts = np.bincount(targets.rows[keep], minlength=targets.count)
    return Targets(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), targets.item_rows[keep])


def _stacked(columns: dict[str, DoubleArray]) -> DoubleArray:
    return np.stack(list(columns.values()), axis=1)


def _values(interval: Interval) -> tuple[float, float, float]:
    return interval.value, interval.low, interval.high


def _without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value
