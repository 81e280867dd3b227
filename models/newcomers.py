"""Items without interactions among all others, by the chance that a user takes them.

A reserved place is shown to everybody, whether or not a new item fits. Here a new item gets a place where the chance
that the user takes it next is at least that of the item that makes room, both as log odds:

- of a new item, from what its text and its neighbours in text score (`models.lending`), the ranks that this would give
  it among the user's other candidates, and how far these stand apart;
- of the item at a place of the list, from its score and how far it stands from the first and the last.

Both are logistic regressions on validation users. Of new items there are hardly any to learn from, so items with
interactions are scored as if they were new (`models.newcomer_fitting`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import orjson

from models.fusion import DECIMALS, ScoredCandidates, leading_columns
from models.interactions import PADDING, BoolArray, FloatArray, LongArray

PLACES = 30
"""Places of the list whose chances are known."""
NEWCOMERS_FILE = "newcomers.json"
_LEAST_STEP = 1e-6
"""Chances fall by at least so much from place to place, so that every chance has one place."""


@dataclass(frozen=True)
class LogOdds:
    """A logistic regression: `bias` and one weight for each feature."""

    weights: tuple[float, ...]
    bias: float

    def of(self, features: list[FloatArray]) -> FloatArray:
        """Log odds from features of one shape; summed one by one, so that a batch changes no bits."""
        total = np.full(features[0].shape, self.bias, dtype=np.float64)
        for weight, feature in zip(self.weights, features, strict=True):
            total += weight * feature.astype(np.float64)
        return np.asarray(total)


@dataclass(frozen=True)
class Newcomers:
    """The two regressions, the weights of the fusion that their features are made with, and the lift."""

    fusion_weights: FloatArray
    """Shape (retrievers,)."""
    text: int
    """Place of the text retriever among the retrievers."""
    of_item: LogOdds
    of_place: LogOdds
    lift: float
    """Added to the log odds of new items."""

    def placed(
        self, candidates: ScoredCandidates, scores: FloatArray, is_new: BoolArray, lengths: LongArray
    ) -> FloatArray:
        """Scores with those of new items put where their chances belong, shape (users, candidates).

        Args:
            candidates: Of one batch; new items have borrowed scores.
            scores: Final scores; those of other items stay as they are.
            is_new: Which candidates are new; users without any other candidate stay as they are.
            lengths: Interactions of each user, shape (users,).
        """
        is_other = (candidates.items != PADDING) & ~is_new
        is_new = is_new & is_other.any(axis=1, keepdims=True)
        if not is_new.any():
            return scores
        columns = leading_columns(is_new)
        fused = candidates.fused(self.fusion_weights)
        place_scores = best_scores(fused, is_other)
        odds = self.of_item.of(
            item_features(
                np.take_along_axis(candidates.scores, columns[None], axis=2),
                np.take_along_axis(fused, columns, axis=1),
                Others(candidates.scores[self.text], fused, is_other),
                place_scores,
                lengths,
                text=self.text,
            )
        )
        place_odds = np.minimum.accumulate(self.of_place.of(place_features(place_scores, lengths)), axis=1)
        place_odds = place_odds - _LEAST_STEP * np.arange(PLACES)
        values = _between(odds + self.lift, place_odds, best_scores(scores, is_other))
        placed = scores.copy()
        np.put_along_axis(placed, columns, np.round(values, DECIMALS).astype(np.float32), axis=1)
        return np.where(is_new, placed, scores)

    def save(self, folder: Path) -> None:
        """Write to `folder`."""
        facts = {
            "fusion_weights": self.fusion_weights.tolist(),
            "text": self.text,
            "of_item": {"weights": self.of_item.weights, "bias": self.of_item.bias},
            "of_place": {"weights": self.of_place.weights, "bias": self.of_place.bias},
            "lift": self.lift,
        }
        (folder / NEWCOMERS_FILE).write_bytes(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS))

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Read what `save` wrote; None where the folder has none."""
        path = folder / NEWCOMERS_FILE
        if not path.is_file():
            return None
        facts: dict[str, Any] = orjson.loads(path.read_bytes())
        odds = {name: LogOdds(tuple(facts[name]["weights"]), facts[name]["bias"]) for name in ("of_item", "of_place")}
        weights = np.array(facts["fusion_weights"], dtype=np.float32)
        return cls(weights, facts["text"], odds["of_item"], odds["of_place"], facts["lift"])


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


def place_features(places: FloatArray, lengths: LongArray) -> list[FloatArray]:
    """What the chance of the item at each of the first places follows from, each of shape (users, PLACES)."""
    shape = places.shape
    return [
        places,
        places - places[:, :1],
        places - places[:, -1:],
        np.broadcast_to(np.log1p(np.arange(PLACES)), shape),
        np.broadcast_to(np.log1p(lengths)[:, None], shape),
        np.broadcast_to(places[:, :5].astype(np.float64).sum(axis=1, keepdims=True) / 5, shape),
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


def _between(odds: FloatArray, place_odds: FloatArray, place_scores: FloatArray) -> FloatArray:
    """Scores that put log odds between those of the places, shape (users, count); above the first, below the last.

    Args:
        odds: Shape (users, count).
        place_odds: Strictly falling, shape (users, PLACES).
        place_scores: Falling, shape (users, PLACES).
    """
    after = (place_odds[:, None, :] > odds[:, :, None]).sum(axis=2)
    upper, lower = np.clip(after - 1, 0, PLACES - 2), np.clip(after, 1, PLACES - 1)
    high, low = np.take_along_axis(place_odds, upper, axis=1), np.take_along_axis(place_odds, lower, axis=1)
    above = np.take_along_axis(place_scores, upper, axis=1).astype(np.float64)
    below = np.take_along_axis(place_scores, lower, axis=1).astype(np.float64)
    inside = below + (above - below) * (odds - low) / (high - low)
    ends = np.where(after == 0, place_scores[:, :1] + odds - place_odds[:, :1], inside)
    return np.where(after == PLACES, place_scores[:, -1:] + odds - place_odds[:, -1:], ends)
