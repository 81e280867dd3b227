"""Items without interactions in the lists: how many places, or how much lift, are worth their cost.

Measured on items that are held out of every history, as if they had just been listed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.catalogue import Catalogue
from models.errors import ConfigurationError, DataError
from models.holdout_ranking import rank_holdout
from models.interactions import BoolArray, InteractionLog, LongArray
from models.metrics import metrics_per_user
from models.recommender import Recommender
from models.reranking import RerankRules
from models.splitting import Holdout, Split


@dataclass(frozen=True)
class SlotTradeoff:
    """What reserving some places, or placing by chance with some lift, does to the lists."""

    places: tuple[int, ...]
    """Places from 1; empty: none."""
    cold_recall: float
    """Recall over users who took a held-out item next; NaN without any."""
    recall: float
    """Recall over all users."""
    lift: float | None = None
    """Lift of new items that are placed by their chance; None: they are not."""


def draw_items(log: InteractionLog, count: int, *, seed: int, without: Sequence[LongArray] = ()) -> LongArray:
    """Item rows to hold out, drawn among those with interactions, ascending.

    Args:
        log: Where they must occur.
        count: How many.
        seed: Of the draw.
        without: Rows that must not be drawn.

    Raises:
        DataError: there are not so many.
    """
    known = np.setdiff1d(np.unique(log.item_rows), np.concatenate([*without, np.zeros(0, dtype=np.int64)]))
    if len(known) < count:
        raise DataError(f"{len(known)} items have interactions, {count} were to be held out; hold out fewer")
    return np.sort(np.random.default_rng(seed).choice(known, count, replace=False)).astype(np.int64)


def hold_out_items(split: Split, items: LongArray) -> Split:
    """The split as if nobody had ever touched `items`: they are in no history, and stay targets."""
    return replace(
        split,
        train=_without(split.train, items),
        validation=replace(split.validation, history=_without(split.validation.history, items)),
        test=replace(split.test, history=_without(split.test.history, items)),
        refit=_without(split.refit, items),
    )


def hide_items(catalogue: Catalogue, items: LongArray) -> Catalogue:
    """The catalogue with `items` never available."""
    hidden = replace(catalogue, available_from=catalogue.available_from.copy())
    hidden.available_from[items] = np.iinfo(np.int64).max
    return hidden


def slot_options(k: int, most: int) -> list[tuple[int, ...]]:
    """No place, the last one of the first `k`, the last two, and so on up to `most`: late places cost least."""
    if not 0 <= most <= k:
        raise ConfigurationError(f"between 0 and {k} places can be reserved among the first {k}, not {most}")
    return [tuple(range(k - count + 1, k + 1)) for count in range(most + 1)]


def measure_slots(
    recommender: Recommender,
    holdout: Holdout,
    items: LongArray,
    rules: RerankRules,
    options: Sequence[tuple[int, ...]],
    *,
    k: int,
) -> list[SlotTradeoff]:
    """Recall at `k` of the served lists for each option.

    Args:
        recommender: Fitted without `items`.
        holdout: Whose targets may be among them and whose histories are not.
        items: The held-out items.
        rules: What the lists obey besides; their own reserved places are replaced.
        options: Places to reserve.
        k: Length of the lists.
    """
    is_cold_user = cold_users(holdout, items)
    found = []
    for places in options:
        own = replace(rules, cold_share=0.0, cold_places=places)
        found.append(SlotTradeoff(places, *_recalls(recommender, holdout, own, is_cold_user, k)))
    return found


def measure_without(
    recommender: Recommender, holdout: Holdout, items: LongArray, rules: RerankRules, *, k: int
) -> SlotTradeoff:
    """Recall at `k` of lists that hold none of the held-out items; arguments are those of `measure_slots`."""
    catalogue = recommender.catalogue
    recommender.refresh(hide_items(catalogue, items))
    try:
        return SlotTradeoff((), *_recalls(recommender, holdout, rules, cold_users(holdout, items), k))
    finally:
        recommender.refresh(catalogue)


def measure_lifts(
    recommender: Recommender, holdout: Holdout, items: LongArray, rules: RerankRules, lifts: Sequence[float], *, k: int
) -> list[SlotTradeoff]:
    """Recall at `k` of lists with the held-out items placed by their chance, for each lift.

    Arguments are those of `measure_slots`; the recommender has fitted the chances.

    Raises:
        DataError: the recommender has not.
    """
    fitted = recommender.newcomers
    if fitted is None:
        raise DataError("the recommender knows no chances of new items; set newcomers.lift and fit it again")
    is_cold_user = cold_users(holdout, items)
    found = []
    for lift in lifts:
        recommender.newcomers = replace(fitted, lift=lift)
        found.append(SlotTradeoff((), *_recalls(recommender, holdout, rules, is_cold_user, k), lift))
    recommender.newcomers = fitted
    return found


def choose_slots(tradeoffs: Sequence[SlotTradeoff], *, tolerance: float) -> SlotTradeoff:
    """The option with the highest recall of cold items that costs all users at most `tolerance` of recall.

    The cost is against the first option; on ties the fewest places.
    """
    cheap = [option for option in tradeoffs if tradeoffs[0].recall - option.recall <= tolerance + 1e-12]
    return max(cheap, key=lambda option: (option.cold_recall, -len(option.places)))


def cold_users(holdout: Holdout, items: LongArray) -> BoolArray:
    """Users with a target among `items`, shape (evaluated users,)."""
    targets = holdout.targets
    is_cold = np.zeros(targets.count, dtype=bool)
    is_cold[targets.rows[np.isin(targets.item_rows, items)]] = True
    return is_cold


def _recalls(
    recommender: Recommender, holdout: Holdout, rules: RerankRules, is_cold_user: BoolArray, k: int
) -> tuple[float, float]:
    """Recall at `k` over users with a held-out target, NaN without any, and over all users."""
    ranked = rank_holdout(recommender, holdout, rules, top_k=k)
    recall = metrics_per_user(ranked, holdout.targets, (k,))[f"recall@{k}"]
    cold = float(recall[is_cold_user].mean()) if is_cold_user.any() else float("nan")
    return cold, float(recall.mean())


def _without(log: InteractionLog, items: LongArray) -> InteractionLog:
    return log.select(~np.isin(log.item_rows, items))
