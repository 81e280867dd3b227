"""Named features of candidates: what a learned ranker reads besides the retrievers' scores.

Every feature is a pure function of the user's history, the candidates, facts of the items and `as_of`. What is
unknown is NaN, never a made-up value.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.catalogue import ALWAYS, Catalogue
from models.fusion import ScoredCandidates
from models.interactions import PADDING, BoolArray, FloatArray, Histories, IntArray, LongArray

RECENT = 3
"""Latest history items that candidates are compared with."""
PRICED = 50
"""Latest history items whose prices say what the user pays."""
DAY_SECONDS = 86_400
USERS_PER_GATHER = 16

ITEM_FEATURES = (
    "log_popularity",
    "item_age_days",
    "is_cold",
    "text_similarity_last",
    "text_similarity_recent",
    "price_gap",
    "same_category",
    "same_brand",
    "history_length",
    "days_since_last",
)


@dataclass(frozen=True)
class ItemFacts:
    """What is known of the items apart from scores; arrays of shape (items,)."""

    log_popularity: FloatArray
    """Logarithm of the interactions of an item, against the mean of all items."""
    available_from: LongArray
    is_cold: BoolArray
    log_prices: FloatArray
    """NaN where no price is known."""
    categories: IntArray
    """Code of the category, -1 where unknown."""
    brands: IntArray
    """Code of the brand or author, -1 where unknown."""
    vectors: FloatArray | None
    """Text vectors of unit length, shape (items, dimension); None: there are none."""

    @classmethod
    def of(cls, catalogue: Catalogue, item_counts: LongArray, vectors: FloatArray | None) -> "ItemFacts":
        """Facts of a catalogue, with the interactions of each item."""
        counts = item_counts.astype(np.float64)
        prices = np.full(catalogue.count, np.nan) if catalogue.prices is None else catalogue.prices.astype(np.float64)
        return cls(
            log_popularity=np.log((counts + 1) / (counts.mean() + 1)).astype(np.float32),
            available_from=catalogue.available_from,
            is_cold=item_counts == 0,
            log_prices=np.log(np.where(prices > 0, prices, np.nan)).astype(np.float32),
            categories=catalogue.category_codes,
            brands=catalogue.brand_codes,
            vectors=vectors,
        )


@dataclass(frozen=True)
class RankContext:
    """For whom and when candidates are ranked."""

    histories: Histories
    facts: ItemFacts
    as_of: int
    """Seconds since 1970 UTC."""


def feature_names(retrievers: Sequence[str]) -> tuple[str, ...]:
    """Names of the features, in the order of `features`."""
    return (*(f"{name}_score" for name in retrievers), *(f"{name}_rank" for name in retrievers), *ITEM_FEATURES)


def features(candidates: ScoredCandidates, context: RankContext) -> FloatArray:
    """Features of candidates, shape (features, users, candidates); meaningless on padding."""
    facts, histories = context.facts, context.histories
    rows = np.maximum(candidates.items, 0)
    recent = _latest(histories, RECENT)
    similarity = _similarities(recent, rows, facts.vectors)
    age = (context.as_of - facts.available_from.astype(np.float64)) / DAY_SECONDS
    age[facts.available_from <= -ALWAYS] = np.nan
    last_at = histories.event_ats.max(axis=1, initial=0)
    idle = np.where(histories.lengths > 0, (context.as_of - last_at) / DAY_SECONDS, np.nan)
    own = {
        "log_popularity": facts.log_popularity[rows],
        "item_age_days": age[rows],
        "is_cold": facts.is_cold[rows],
        "text_similarity_last": similarity[..., -1],
        "text_similarity_recent": np.fmax.reduce(similarity, axis=2),
        "price_gap": facts.log_prices[rows] - _usual_price(histories, facts.log_prices)[:, None],
        "same_category": _shared(recent, rows, facts.categories),
        "same_brand": _shared(recent, rows, facts.brands),
        "history_length": np.broadcast_to(np.log1p(histories.lengths)[:, None], rows.shape),
        "days_since_last": np.broadcast_to(idle[:, None], rows.shape),
    }
    ranks = np.where(candidates.ranks() > 0, np.log1p(candidates.ranks()), np.nan)
    stacked = [*candidates.scores, *ranks, *(own[name] for name in ITEM_FEATURES)]
    return np.stack([np.asarray(values, dtype=np.float32) for values in stacked])


def _latest(histories: Histories, count: int) -> IntArray:
    """Latest item rows, shape (users, count), padded on the left."""
    latest = histories.items[:, -count:]
    return np.pad(latest, ((0, 0), (count - latest.shape[1], 0)), constant_values=PADDING)


def _similarities(recent: IntArray, rows: IntArray, vectors: FloatArray | None) -> FloatArray:
    """Cosine of each candidate with each recent item, shape (users, candidates, recent); NaN where unknown."""
    shape = (*rows.shape, recent.shape[1])
    if vectors is None or not len(rows):
        return np.full(shape, np.nan, dtype=np.float32)
    parts = []
    for begin in range(0, len(rows), USERS_PER_GATHER):
        users = slice(begin, begin + USERS_PER_GATHER)
        # `einsum` without BLAS: the bits do not depend on the batch.
        own = np.einsum("ucd,urd->ucr", vectors[rows[users]], vectors[np.maximum(recent[users], 0)])
        parts.append(np.where((recent[users] == PADDING)[:, None, :], np.float32(np.nan), own))
    return np.concatenate(parts)


def _usual_price(histories: Histories, log_prices: FloatArray) -> FloatArray:
    """Mean log price of the latest history items, NaN where none is known; shape (users,)."""
    latest = _latest(histories, PRICED)
    prices = np.where(latest == PADDING, np.nan, log_prices[np.maximum(latest, 0)]).astype(np.float64)
    known = ~np.isnan(prices)
    counts = known.sum(axis=1)
    total = np.where(known, prices, 0).sum(axis=1)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan).astype(np.float32)


def _shared(recent: IntArray, rows: IntArray, codes: IntArray) -> FloatArray:
    """Share of the recent items that have the candidate's code; NaN where the candidate has none."""
    theirs = np.where(recent == PADDING, -2, codes[np.maximum(recent, 0)])
    own = codes[rows]
    counts = np.maximum((recent != PADDING).sum(axis=1), 1)
    equal = sum((own == theirs[:, place, None]).astype(np.float32) for place in range(recent.shape[1]))
    return np.where(own < 0, np.nan, equal / counts[:, None]).astype(np.float32)
