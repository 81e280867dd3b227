"""Ranking metrics on arrays: one value per evaluated user.

Each metric reads `Judgements`, made once by `judge`, and a cut-off `k`. All follow the definitions of trec_eval, so
they equal those of `ir-measures` (a test compares them). Common answers on empty input: without users the array is
empty; a user without relevant items gets NaN, because there is nothing to find; a user with an empty list gets 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import DataError
from models.interactions import PADDING, BoolArray, IntArray, LongArray
from models.splitting import Targets, pair_codes

DoubleArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Judgements:
    """Which places of each list hold a relevant item, shape (users, places), and how many there are to find."""

    hits: BoolArray
    relevant: LongArray

    def at(self, k: int) -> BoolArray:
        """The first `k` places; a shorter list counts as if it ended in misses."""
        if k < 1:
            raise DataError(f"k must be at least 1, not {k}")
        return self.hits[:, :k]


def judge(ranked: IntArray, targets: Targets) -> Judgements:
    """Mark the relevant items in ranked lists.

    Args:
        ranked: Item rows, best first, shape (users, places), filled with -1 behind the end of a short list.
        targets: Relevant items, aligned with the rows of `ranked`.

    Raises:
        DataError: the numbers of users differ, or a list holds an item twice.
    """
    if len(ranked) != targets.count:
        raise DataError(f"{len(ranked)} ranked lists for {targets.count} users with targets")
    ordered = np.sort(ranked, axis=1)
    repeats = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != PADDING)
    if repeats.any():
        user, place = np.argwhere(repeats)[0]
        raise DataError(f"list {user} holds item row {ordered[user, place]} more than once; rank distinct items")
    item_count = int(max(ranked.max(initial=0), targets.item_rows.max(initial=0))) + 1
    users = np.broadcast_to(np.arange(len(ranked))[:, None], ranked.shape)
    codes = pair_codes(users, ranked, item_count)
    hits = np.isin(codes, pair_codes(targets.rows, targets.item_rows, item_count)) & (ranked != PADDING)
    return Judgements(hits, targets.lengths)


def recall(judgements: Judgements, k: int) -> DoubleArray:
    """Share of the relevant items that stand in the first k: hits@k / relevant.

    Source: trec_eval `recall_k`. Empty input: see the module.
    """
    return _divided(judgements.at(k).sum(axis=1), judgements.relevant)


def hit_rate(judgements: Judgements, k: int) -> DoubleArray:
    """1 if any relevant item stands in the first k, else 0.

    Source: trec_eval `success_k`. Empty input: see the module.
    """
    return _defined((judgements.at(k).sum(axis=1) > 0).astype(np.float64), judgements.relevant)


def mrr(judgements: Judgements, k: int) -> DoubleArray:
    """Reciprocal rank of the first relevant item within the first k: 1 / rank, 0 if there is none.

    Source: Voorhees, TREC-8 (1999), cut at k. Empty input: see the module.
    """
    hits = judgements.at(k)
    if not hits.shape[1]:
        return _defined(np.zeros(len(hits)), judgements.relevant)
    values: DoubleArray = np.where(hits.any(axis=1), 1.0 / (hits.argmax(axis=1) + 1.0), 0.0)
    return _defined(values, judgements.relevant)


def ndcg(judgements: Judgements, k: int) -> DoubleArray:
    """Discounted gain over the best possible: sum(hit_r / log2(r + 1)) / sum(1 / log2(r + 1) for r ≤ min(k, relevant)).

    Source: Järvelin and Kekäläinen (2002) with binary relevance; trec_eval `ndcg_cut_k`. Empty input: see the module.
    """
    hits = judgements.at(k)
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])[np.minimum(judgements.relevant, k)]
    # Summed in the order of the ideal, so that a perfect list scores 1 exactly.
    gains = np.cumsum(np.hstack([np.zeros((len(hits), 1)), hits * discounts[: hits.shape[1]]]), axis=1)[:, -1]
    return _divided(gains, ideal)


def average_precision(judgements: Judgements, k: int) -> DoubleArray:
    """Precision at each hit within the first k, summed and divided by all relevant items; its mean is MAP@k.

    Source: trec_eval `map_cut_k` (the divisor is the number of relevant items, not the smaller of it and k).
    Empty input: see the module.
    """
    hits = judgements.at(k)
    precisions = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    return _divided((precisions * hits).sum(axis=1), judgements.relevant)


METRICS: dict[str, Callable[[Judgements, int], DoubleArray]] = {
    "recall": recall,
    "ndcg": ndcg,
    "mrr": mrr,
    "hit_rate": hit_rate,
    "map": average_precision,
}
"""Every metric by the name that reports use."""


def metrics_per_user(ranked: IntArray, targets: Targets, ks: Sequence[int] = (5, 10, 20)) -> dict[str, DoubleArray]:
    """All metrics at all cut-offs: `recall@10` and so on, each one value per user.

    Args:
        ranked: See `judge`; lists shorter than a cut-off count as ending in misses.
        targets: Relevant items, aligned with `ranked`.
        ks: Cut-offs.
    """
    judgements = judge(ranked, targets)
    return {f"{name}@{k}": metric(judgements, k) for name, metric in METRICS.items() for k in ks}


def mean(values: DoubleArray) -> float:
    """Mean over the users whose metric is defined; NaN when there is none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def area_under_curve(scores: DoubleArray, is_positive: BoolArray) -> float:
    """Chance that a random positive scores above a random negative, ties counting half (area under the ROC curve).

    Source: Mann and Whitney (1947), from ranks.

    Args:
        scores: Shape (examples,).
        is_positive: Same shape.

    Returns:
        NaN where either kind is missing.
    """
    positives = int(is_positive.sum())
    negatives = len(scores) - positives
    if not positives or not negatives:
        return float("nan")
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_ranks = np.cumsum(counts) - (counts - 1) / 2
    wins = mean_ranks[places][is_positive].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))


def _divided(numerator: npt.NDArray[np.number], denominator: npt.NDArray[np.number]) -> DoubleArray:
    result = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


def _defined(values: DoubleArray, relevant: LongArray) -> DoubleArray:
    return np.where(relevant > 0, values, np.nan)
