"""What each stage of the ranking loses: how many of the targets are still there, and how good a list could yet be."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.fusion import target_places
from models.interactions import PADDING, IntArray
from models.pipeline import rank_users
from models.ranking_sample import RankingSample
from models.recommender import Recommender
from models.reranking import RerankRules
from models.splitting import Holdout, Targets

PROPOSED, NARROWED, RANKED, LISTED = "proposed", "narrowed", "ranked", "listed"


@dataclass(frozen=True)
class StageLoss:
    """One stage of the cascade, on the users of a sample."""

    name: str
    """proposed by any retriever; narrowed by the cheap stage; ranked best; listed after the rules."""
    width: float
    """Mean number of items of a user after the stage."""
    reached: float
    """Share of the targets that are still there, mean over users."""
    ceiling: float
    """NDCG at `k` of a perfect order of what is still there, mean over users."""


def measure_cascade(
    recommender: Recommender, holdout: Holdout, rules: RerankRules, *, top_k: int, k: int, seed: int
) -> list[StageLoss]:
    """Loss of each stage on up to `fusion.max_users` users of a holdout; empty without users.

    Args:
        recommender: Fitted without the targets.
        holdout: Whose users and targets.
        rules: What the lists obey.
        top_k: Length of the lists.
        k: Cut-off of the ceiling.
        seed: Of the draw of users.
    """
    sample = recommender.ranking_sample(holdout, seed=seed)
    if not sample.count:
        return []
    narrowed = recommender.ranker.narrowed(sample.candidates, np.zeros(sample.candidates.items.shape, dtype=bool))
    plain, listed = (_lists(recommender, sample, own, top_k) for own in (RerankRules(rules.exclude_seen), rules))
    stages = {PROPOSED: sample.candidates.items, NARROWED: narrowed.items, RANKED: plain, LISTED: listed}
    return [stage_loss(name, items, sample.targets, k=k) for name, items in stages.items()]


def stage_loss(name: str, items: IntArray, targets: Targets, *, k: int) -> StageLoss:
    """Loss of one stage that leaves `items`, shape (users, width), padded."""
    found = np.bincount(targets.rows, weights=target_places(items, targets) >= 0, minlength=targets.count)
    lengths = np.maximum(targets.lengths, 1)
    gains = np.concatenate([[0], np.cumsum(1 / np.log2(np.arange(k) + 2))])
    ceiling = gains[np.minimum(found, k).astype(int)] / gains[np.minimum(lengths, k)]
    width = (items != PADDING).sum(axis=1)
    return StageLoss(name, float(width.mean()), float((found / lengths).mean()), float(ceiling.mean()))


def cascade_table(stages: Sequence[StageLoss], *, k: int) -> str:
    """The stages as Markdown."""
    rows = [f"| {one.name} | {one.width:,.0f} | {one.reached:.4f} | {one.ceiling:.4f} |" for one in stages]
    header = f"| stage | items of a user | targets still there | ceiling of ndcg@{k} |"
    return "\n".join([header, "| --- | --- | --- | --- |", *rows])


def _lists(recommender: Recommender, sample: RankingSample, rules: RerankRules, top_k: int) -> IntArray:
    context = sample.context
    return rank_users(recommender, None, context.histories, rules, top_k=top_k, as_of=context.as_of).items
