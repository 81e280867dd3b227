"""One score for each candidate of a user, and the named terms that it is the sum of."""

from dataclasses import dataclass

import numpy as np

from models.fusion import DECIMALS, ScoredCandidates
from models.interactions import BoolArray, FloatArray, Histories, IntArray, LongArray
from models.rank_features import RankContext
from models.rankers import at_places
from models.recommender import Recommender

TIE_SHARE = 0.001
"""Share of the text scores in the order of cold items."""
POPULARITY, BOOST, COLD_TEXT, PLACEMENT = "popularity", "boost", "new_item_text", "placement"
"""Terms beside those of the ranker: for users without a history, of business rules, of the text of items without
interactions, and what an item shows on top because it was pinned, reserved or filled in."""


@dataclass(frozen=True)
class Scored:
    """Candidates of a batch of users with their final scores."""

    candidates: ScoredCandidates
    scores: FloatArray
    """Shape (users, candidates); `-inf` on padding."""
    histories: Histories


class Scorer:
    """Scores with a recommender's ranker, popularity alone for users without a history, and boosts."""

    def __init__(
        self, recommender: Recommender, *, boost: FloatArray, keep: BoolArray, has_cold_slots: bool, as_of: int
    ) -> None:
        """Bind to a recommender and to what the rules of the lists say of each item.

        Args:
            recommender: With its ranker.
            boost: Added to the score, shape (items,).
            keep: Items that stay candidates whatever their score, shape (items,).
            has_cold_slots: Whether the order among items without interactions matters.
            as_of: Seconds since 1970 UTC.
        """
        self._ranker = recommender.ranker
        self.facts = recommender.item_facts()
        self._boost, self._keep, self._as_of = boost, keep, as_of
        self._is_cold = recommender.is_cold
        self._retrievers = tuple(recommender.retrievers)
        self._popularity = self._retrievers.index("popularity")
        text_aware = [row for row, name in enumerate(self._retrievers) if name in recommender.text_aware]
        self._text_rows = text_aware
        self._newcomers, self._lending = recommender.newcomers, recommender.lending
        self._has_cold_text = has_cold_slots and bool(text_aware) and self._newcomers is None
        own = () if POPULARITY in self._ranker.terms else (POPULARITY,)
        self.terms: tuple[str, ...] = (*self._ranker.terms, *own, BOOST, COLD_TEXT, PLACEMENT)

    def score(self, candidates: ScoredCandidates, histories: Histories) -> Scored:
        """Scores of the candidates that are worth ranking."""
        has_history = (histories.lengths > 0)[:, None]
        rows = np.maximum(candidates.items, 0)
        kept = self._ranker.narrowed(candidates, self._keep[rows] | ~has_history)
        alone = kept.rounded(kept.scores[self._popularity])
        scores = np.where(has_history, self._ranker.score(kept, self._context(histories)), alone)
        if self._newcomers is not None:
            scores = self._newcomers.placed(kept, scores, self._is_new(kept, histories), histories.lengths)
        scores = scores + self._boost[np.maximum(kept.items, 0)]
        if self._has_cold_text:
            scores = np.round(scores + self._cold_text(kept), DECIMALS)
        return Scored(kept, np.asarray(scores, dtype=np.float32), histories)

    def contributions(self, scored: Scored, places: IntArray) -> FloatArray:
        """Terms of the candidates at `places`, shape (terms, users, count); `placement` is left at 0."""
        candidates, histories = scored.candidates, scored.histories
        has_history = (histories.lengths > 0)[:, None]
        own = self._ranker.contributions(candidates, self._context(histories), places)
        values = np.zeros((len(self.terms), *places.shape), dtype=np.float32)
        values[: len(own)] = np.where(has_history, own, 0)
        popularity = at_places(candidates.scores[[self._popularity]], places)[0]
        values[self.terms.index(POPULARITY)] += np.where(has_history, 0, popularity)
        boost = self._boost[np.maximum(candidates.items, 0)]
        values[self.terms.index(BOOST)] = at_places(boost[None], places)[0]
        if self._has_cold_text:
            values[self.terms.index(COLD_TEXT)] = at_places(self._cold_text(candidates)[None], places)[0]
        if self._newcomers is not None:
            # What a new item shows follows from its chance, which is no sum over retrievers.
            is_new = at_places(self._is_new(candidates, histories)[None].astype(np.float32), places)[0] > 0
            chance = at_places((scored.scores - boost)[None], places)[0]
            values[: len(own)] = np.where(is_new, 0, values[: len(own)])
            values[self.terms.index(COLD_TEXT)] += np.where(is_new, chance, np.float32(0))
        return values

    def sources(self, scored: Scored, contributions: FloatArray, places: IntArray, items: IntArray) -> LongArray:
        """The retriever whose terms add most, the first one on ties; for a cold item the text that says most."""
        chosen = at_places(scored.candidates.scores, places)
        is_cold = self._is_cold[np.maximum(items, 0)] & (chosen[self._text_rows].sum(axis=0) != 0)
        shares = []
        for row, name in enumerate(self._retrievers):
            own = [place for place, term in enumerate(self.terms) if term in (name, f"{name}_score", f"{name}_rank")]
            share = contributions[own].sum(axis=0)
            share = np.where(share == 0, -np.inf, share)
            shares.append(np.where(is_cold, chosen[row] if row in self._text_rows else -np.inf, share))
        return np.asarray(np.argmax(shares, axis=0), dtype=np.int64)

    def _is_new(self, candidates: ScoredCandidates, histories: Histories) -> BoolArray:
        """Candidates that are placed by their chance, shape (users, candidates)."""
        if self._newcomers is None or self._lending is None:
            return np.zeros(candidates.items.shape, dtype=bool)
        return self._lending.borrows(candidates.items) & (histories.lengths > 0)[:, None]

    def _context(self, histories: Histories) -> RankContext:
        return RankContext(histories, self.facts, self._as_of)

    def _cold_text(self, candidates: ScoredCandidates) -> FloatArray:
        """Orders cold items by their text also where the ranker leaves the text out."""
        text = candidates.scores[self._text_rows].sum(axis=0)
        is_cold = self._is_cold[np.maximum(candidates.items, 0)]
        return np.where(is_cold, np.float32(TIE_SHARE) * text, np.float32(0)).astype(np.float32)
