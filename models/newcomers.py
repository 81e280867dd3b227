"""Items without interactions among all others, by the chance that a user takes them.

A reserved place is shown to everybody, whether or not a new item fits. Here a new item competes with the items at the
first places of the user's list: it enters for the one that the user takes least likely, where its own chance is
higher, and that one goes on behind the first places. Both chances are log odds of gradient-boosted trees
(`models.chance_trees`):

- of a new item, from what its text and its neighbours in text score (`models.lending`), the ranks that this would give
  it among the user's other candidates, and how far these stand apart;
- of the item at a place of the list, from what each retriever says of it, and how far it stands from the others.

They are fitted on validation users. Of new items there are hardly any to learn from, so items with interactions are
scored as if they were new (`models.newcomer_fitting`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import orjson

from models.chance_trees import ChanceTrees
from models.errors import NotFittedError
from models.fusion import DECIMALS, DoubleArray, ScoredCandidates, leading_columns
from models.interactions import PADDING, BoolArray, FloatArray, LongArray

PLACES = 30
"""Places of the list whose chances are known."""
AT_STAKE = 10
"""First places that new items compete for; behind them the order of the list decides."""
NEWCOMERS_FILE = "newcomers.json"
_TREES = {"of_item": "new_item_trees.txt", "of_place": "place_trees.txt"}
_STEP = np.float32(10**-DECIMALS)
"""Least difference between two scores."""
_LEAST_STEP = 1e-6
"""Chances fall by at least so much from place to place, so that every chance has one place."""
_NO_CHANCE = -100.0
"""Log odds of what cannot be."""


@dataclass(frozen=True)
class Newcomers:
    """Both kinds of chances, the weights of the fusion that their features are made with, and the lift."""

    fusion_weights: FloatArray
    """Shape (retrievers,)."""
    text: int
    """Place of the text retriever among the retrievers."""
    of_item: ChanceTrees
    of_place: ChanceTrees
    lift: float
    """Added to the log odds of new items."""

    def placed(
        self, candidates: ScoredCandidates, scores: FloatArray, is_new: BoolArray, lengths: LongArray
    ) -> FloatArray:
        """Scores with those of new items put where their chances belong, shape (users, candidates).

        Args:
            candidates: Of one batch; new items have borrowed scores.
            scores: Final scores; those of other items stay as they are, except where a new item takes their place.
            is_new: Which candidates are new; users without any other candidate stay as they are.
            lengths: Interactions of each user, shape (users,).
        """
        is_other = (candidates.items != PADDING) & ~is_new
        is_new = is_new & is_other.any(axis=1, keepdims=True)
        if not is_new.any():
            return scores
        columns = leading_columns(is_new)
        fused = candidates.fused(self.fusion_weights)
        features = item_features(
            np.take_along_axis(candidates.scores, columns[None], axis=2),
            np.take_along_axis(fused, columns, axis=1),
            Others(candidates.scores[self.text], fused, is_other),
            best_scores(fused, is_other),
            lengths,
            text=self.text,
        )
        is_real = np.take_along_axis(is_new, columns, axis=1)
        odds = np.where(is_real, self.of_item.log_odds(features) + self.lift, -np.inf)
        places = FirstPlaces.of(candidates, fused, scores, is_other)
        place_odds = np.where(places.is_real, self.of_place.log_odds(place_features(places, lengths)), -np.inf)
        values, is_displaced, behind = _compete(odds, place_odds, places.listed(scores))
        placed = scores.copy()
        user, place = np.nonzero(is_displaced & places.is_real[:, :AT_STAKE])
        placed[user, places.columns[user, place]] = behind[user]
        user, place = np.nonzero(is_real)
        placed[user, columns[user, place]] = np.round(values[user, place], DECIMALS)
        return placed

    def save(self, folder: Path) -> None:
        """Write to `folder`."""
        facts = {"fusion_weights": self.fusion_weights.tolist(), "text": self.text, "lift": self.lift}
        (folder / NEWCOMERS_FILE).write_bytes(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS))
        for name, file in _TREES.items():
            trees: ChanceTrees = getattr(self, name)
            trees.save(folder / file)

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Read what `save` wrote; None where the folder has none.

        Raises:
            NotFittedError: they were written by an earlier version.
        """
        path = folder / NEWCOMERS_FILE
        if not path.is_file():
            return None
        missing = [file for file in _TREES.values() if not (folder / file).is_file()]
        if missing:
            raise NotFittedError(f"{path} is of an earlier version, without {missing[0]} beside it; train again")
        facts: dict[str, Any] = orjson.loads(path.read_bytes())
        weights = np.array(facts["fusion_weights"], dtype=np.float32)
        chances = {name: ChanceTrees.load(folder / file) for name, file in _TREES.items()}
        return cls(weights, facts["text"], chances["of_item"], chances["of_place"], facts["lift"])


@dataclass(frozen=True)
class Others:
    """Candidates that are not new: scores of shape (users, candidates)."""

    text: FloatArray
    """By their text."""
    fused: FloatArray
    """By the weighted fusion."""
    is_other: BoolArray
    """Which they are."""


def item_features(
    scores: FloatArray, fused: FloatArray, others: Others, places: FloatArray, lengths: LongArray, *, text: int
) -> list[FloatArray]:
    """What the chance of new items follows from, each of shape (users, count).

    Args:
        scores: Of the new items by each retriever, shape (retrievers, users, count).
        fused: Their weighted sum, shape (users, count).
        others: The user's other candidates, which ranks are counted among.
        places: Scores of the first places, as of `best_scores`.
        lengths: Interactions of each user.
        text: Place of the text retriever.
    """
    shared = (places[:, 0], places[:, 0] - places[:, 9], places[:, 9] - places[:, -1], np.log1p(lengths))
    return [
        *scores,
        np.log1p(_ahead(scores[text], others.text, others.is_other)),
        np.log1p(_ahead(fused, others.fused, others.is_other)),
        *(np.broadcast_to(value[:, None], fused.shape) for value in shared),
    ]


@dataclass(frozen=True)
class FirstPlaces:
    """The first candidates of each user's list that are not new."""

    columns: LongArray
    """Which candidates, shape (users, PLACES); any where the user has fewer."""
    is_real: BoolArray
    """Where there is one, in the same shape."""
    fused: FloatArray
    """By the weighted fusion, in the same shape; the lowest again where there are fewer."""
    scores: FloatArray
    """By each retriever, shape (retrievers, users, PLACES); 0 where there are fewer."""

    @classmethod
    def of(cls, candidates: ScoredCandidates, fused: FloatArray, order: FloatArray, is_other: BoolArray) -> Self:
        """Read off candidates; the list is in the order of `order`, ties to the lower item row."""
        best = np.argsort(-np.where(is_other, order, -np.inf), axis=1, kind="stable")[:, :PLACES]
        columns = np.pad(best, ((0, 0), (0, PLACES - best.shape[1])))
        is_real = np.take_along_axis(is_other, columns, axis=1) & (np.arange(PLACES) < best.shape[1])
        own = np.where(is_real, np.take_along_axis(fused, columns, axis=1), np.inf)
        lowest = own.min(axis=1, keepdims=True)
        own = np.where(is_real, own, np.where(np.isfinite(lowest), lowest, 0)).astype(np.float32)
        scores = np.where(is_real, np.take_along_axis(candidates.scores, columns[None], axis=2), np.float32(0))
        return cls(columns, is_real, own, scores)

    def listed(self, scores: FloatArray) -> FloatArray:
        """Final scores at the places, shape (users, PLACES); they go on falling where the user has fewer."""
        own = np.where(self.is_real, np.take_along_axis(scores, self.columns, axis=1), np.inf)
        beyond = np.cumsum(~self.is_real, axis=1) * _STEP
        return np.where(self.is_real, own, own.min(axis=1, keepdims=True) - beyond).astype(np.float32)


def place_features(places: FirstPlaces, lengths: LongArray) -> list[FloatArray]:
    """What the chance of the item at each of the first places follows from, each of shape (users, PLACES)."""
    fused, shape = places.fused, places.fused.shape
    first, fifth, tenth, twentieth = (fused[:, [place]] for place in (0, 4, 9, 19))
    shared = (
        np.log1p(lengths)[:, None],
        fused[:, :5].astype(np.float64).sum(axis=1, keepdims=True) / 5,
        first,
        first - fused[:, [1]],
        fifth - tenth,
        tenth - twentieth,
        *(scores[:, :AT_STAKE].astype(np.float64).sum(axis=1, keepdims=True) for scores in places.scores),
    )
    return [
        fused,
        fused - first,
        fused - fused[:, [-1]],
        np.broadcast_to(np.log1p(np.arange(PLACES)), shape),
        *places.scores,
        *(np.broadcast_to(value, shape) for value in shared),
    ]


def best_scores(scores: FloatArray, is_other: BoolArray) -> FloatArray:
    """The highest scores of each user, best first, shape (users, PLACES); the lowest again where there are fewer."""
    known = np.where(is_other, scores, -np.inf)
    if known.shape[1] < PLACES:
        known = np.pad(known, ((0, 0), (0, PLACES - known.shape[1])), constant_values=-np.inf)
    best = -np.sort(-np.partition(known, known.shape[1] - PLACES, axis=1)[:, -PLACES:], axis=1)
    lowest = np.where(np.isfinite(best), best, np.inf).min(axis=1, keepdims=True)
    return np.where(np.isfinite(best), best, np.where(np.isfinite(lowest), lowest, 0)).astype(np.float32)


def _ahead(values: FloatArray, scores: FloatArray, is_other: BoolArray) -> LongArray:
    """How many other candidates of the user score more than each value, shape (users, count)."""
    ordered = np.sort(np.where(is_other, -scores, np.inf), axis=1)
    return np.stack([np.searchsorted(own, -value) for own, value in zip(ordered, values, strict=True)])


def _compete(
    odds: DoubleArray, place_odds: DoubleArray, place_scores: FloatArray
) -> tuple[DoubleArray, BoolArray, FloatArray]:
    """Let new items in for those at stake that are worth least, while theirs is the better chance.

    Args:
        odds: Of new items, shape (users, count); -inf where there is none.
        place_odds: Shape (users, PLACES); -inf where a place is free.
        place_scores: Scores of the list, shape (users, PLACES).

    Returns:
        Scores of the new items, shape (users, count); which places at stake lose their item, shape
        (users, AT_STAKE); and the score that such an item has from now on, shape (users,).
    """
    at_stake = place_odds[:, :AT_STAKE]
    both = np.concatenate([at_stake, odds], axis=1)
    best = np.argsort(-both, axis=1, kind="stable")[:, :AT_STAKE]
    is_in = np.zeros(both.shape, dtype=bool)
    np.put_along_axis(is_in, best, np.isfinite(np.take_along_axis(both, best, axis=1)), axis=1)
    stays, enters = is_in[:, :AT_STAKE], is_in[:, AT_STAKE:]
    last = place_scores[:, AT_STAKE - 1]
    # Who stays keeps the order of the list; who enters stands where the chances of those fall below its own.
    kept = np.argsort(~stays, axis=1, kind="stable")
    is_kept = np.take_along_axis(stays, kept, axis=1)
    lowest = np.where(enters, odds, np.inf).min(axis=1, keepdims=True)
    kept_odds = np.where(is_kept, np.take_along_axis(at_stake, kept, axis=1), np.where(np.isfinite(lowest), lowest, 0))
    kept_scores = np.where(is_kept, np.take_along_axis(place_scores, kept, axis=1), last[:, None])
    inside = np.maximum(_between(odds, _falling(kept_odds), kept_scores), last[:, None])
    behind = last - _STEP
    later = _between(odds, _falling(place_odds[:, AT_STAKE:]), place_scores[:, AT_STAKE:])
    return np.where(enters, inside, np.minimum(later, behind[:, None] - _STEP)), ~stays, behind


def _falling(odds: DoubleArray) -> DoubleArray:
    """The lowest of each value and those before it, finite and strictly falling along a user's places."""
    lowest: DoubleArray = np.minimum.accumulate(np.maximum(odds, _NO_CHANCE), axis=1)
    return lowest - _LEAST_STEP * np.arange(odds.shape[1])


def _between(odds: DoubleArray, place_odds: DoubleArray, place_scores: FloatArray) -> DoubleArray:
    """Scores that put log odds between those of the places, shape (users, count); above the first, below the last.

    Args:
        odds: Shape (users, count).
        place_odds: Strictly falling, shape (users, places).
        place_scores: Falling, shape (users, places).
    """
    odds, last = np.maximum(odds, 2 * _NO_CHANCE), place_odds.shape[1] - 1
    after = (place_odds[:, None, :] > odds[:, :, None]).sum(axis=2)
    upper, lower = np.clip(after - 1, 0, last - 1), np.clip(after, 1, last)
    high, low = np.take_along_axis(place_odds, upper, axis=1), np.take_along_axis(place_odds, lower, axis=1)
    above = np.take_along_axis(place_scores, upper, axis=1).astype(np.float64)
    below = np.take_along_axis(place_scores, lower, axis=1).astype(np.float64)
    inside = below + (above - below) * (odds - low) / (high - low)
    ends = np.where(after == 0, place_scores[:, :1] + odds - place_odds[:, :1], inside)
    return np.where(after > last, place_scores[:, -1:] + odds - place_odds[:, -1:], ends)
