"""Fitting the fusion on validation users, and choosing a method on users that it was not fitted on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.fusion import DoubleArray, ndcg_by_user, target_places
from models.fusion_config import AUTO, METHODS, FusionConfig
from models.rankers import LinearRanker, Ranker, ReciprocalRankRanker, StackedRanker
from models.ranking_sample import RankingSample

STANDARD_ERRORS = 1.0
"""A costlier method is taken only where it wins by more than so many standard errors of the difference."""


@dataclass(frozen=True)
class FittedFusion:
    """The chosen ranker, and what it was chosen by."""

    ranker: Ranker
    wide: LinearRanker
    """The weighted fusion, whichever ranker was chosen."""
    ndcg: float | None
    """NDCG of the ranker on the users that it was fitted on; None without users."""
    compared: dict[str, float]
    """auto: NDCG by method on users that it was not fitted on; else empty."""


def import_for(method: str, *, has_chances: bool = False) -> None:
    """Import what a method, and the chances of new items, need; called before any retriever is fitted.

    See `models.boosted_trees.lightgbm`.
    """
    if has_chances or method in ("lambdarank", AUTO):
        from models.boosted_trees import lightgbm

        lightgbm()


def fit_fusion(sample: RankingSample, config: FusionConfig, *, seed: int) -> FittedFusion:
    """Fit the configured method, or the one that `auto` chooses, on all users of the sample."""
    compared = cross_fitted(sample, config, seed=seed) if config.method == AUTO and sample.count else {}
    wide = LinearRanker.fit(sample.retrievers, sample.candidates, sample.targets, config, seed)
    method = _chosen(compared) if config.method == AUTO else config.method
    ranker = wide if method == "weighted" else fit_ranker(method, sample, config, seed=seed)
    ndcg = float(ndcg_of(ranker, sample, config.k).mean()) if sample.count else None
    return FittedFusion(ranker, wide, ndcg, {name: float(values.mean()) for name, values in compared.items()})


def fit_ranker(method: str, sample: RankingSample, config: FusionConfig, *, seed: int) -> Ranker:
    """One method on all users of a sample."""
    match method:
        case "rrf":
            return ReciprocalRankRanker(sample.retrievers, config.rrf_constant)
        case "stacked":
            return StackedRanker.fit(sample.retrievers, sample.candidates, sample.targets, config, seed)
        case "lambdarank":
            from models.lambdarank import LambdaRanker

            return LambdaRanker.fit(sample.retrievers, sample.candidates, sample.targets, sample.context, config, seed)
        case _:
            return LinearRanker.fit(sample.retrievers, sample.candidates, sample.targets, config, seed)


def cross_fitted(
    sample: RankingSample, config: FusionConfig, *, seed: int, methods: Sequence[str] = METHODS
) -> dict[str, DoubleArray]:
    """NDCG at `k` of each user by methods that were fitted on the other folds; shape (users,) by method."""
    folds = np.random.default_rng(seed).permutation(sample.count) % config.folds
    values: dict[str, DoubleArray] = {method: np.zeros(sample.count) for method in methods}
    for fold in range(config.folds):
        judged, learned = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        if not len(judged):
            continue
        others, own = sample.of_users(learned), sample.of_users(judged)
        for method in methods:
            values[method][judged] = ndcg_of(fit_ranker(method, others, config, seed=seed), own, config.k)
    return values


def ndcg_of(ranker: Ranker, sample: RankingSample, k: int) -> DoubleArray:
    """NDCG at `k` of each user, shape (users,)."""
    none = np.zeros(sample.candidates.items.shape, dtype=bool)
    kept = ranker.narrowed(sample.candidates, none)
    scores = ranker.score(kept, sample.context)
    return ndcg_by_user(scores, target_places(kept.items, sample.targets), sample.targets, k=k)


def rescaled(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights that add up to 1; equal ones where all are 0."""
    total = sum(weights.values())
    return {name: weight / total if total else 1 / len(weights) for name, weight in weights.items()}


def _chosen(compared: dict[str, DoubleArray]) -> str:
    """The simplest method that no costlier one beats clearly; weighted without any user."""
    best = "weighted"
    for method, values in compared.items():
        if method == best:
            continue
        gain = values - compared[best]
        error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
        if gain.mean() > STANDARD_ERRORS * error:
            best = method
    return best
