"""Retrieve, fuse, rerank: the one function behind evaluation, the batch lane and the nearline lane.

A user's list depends on that user's history, the recommender, the index, the rules and `as_of`, never on who else
is in the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from models.candidates import CandidateRequest
from models.contributions import compact
from models.errors import ConfigurationError, DataError
from models.fusion import DECIMALS
from models.interactions import PADDING, FloatArray, Histories, IntArray, ObjectArray
from models.list_choice import ListChooser
from models.list_filling import PopularFill
from models.reasons import nearest_history_items, reason_texts
from models.recommender import Recommender
from models.reranking import COLD, FILLED, NATURAL, PINNED, RerankRules, ResolvedRules, resolve_rules
from models.schema import Columns
from models.scoring import Scorer
from models.user_batches import in_batches
from models.vector_index import ItemIndex

ROUNDING = 2 * 10**-DECIMALS
"""How far the terms of a score may be from it."""
RULE = "rule"
"""Source of a pinned item."""


@dataclass(frozen=True)
class RankedLists:
    """Lists of a batch of users as arrays of shape (users, top_k), padded where fewer items may be shown."""

    items: IntArray
    """Item rows, best first; -1 on padding."""
    scores: FloatArray
    """Never rising along a list. A pinned or reserved item shows at least the score of what follows it."""
    sources: IntArray
    """Place in `source_names`; -1 on padding."""
    kinds: IntArray
    """Why the item stands there: natural, cold, filled, or pinned plus the number of the pin."""
    source_names: tuple[str, ...]
    """Names of the retrievers, then `rule`."""
    contributions: FloatArray
    """What each term adds to each score, shape (terms, users, top_k); the terms of a score add up to it."""
    terms: tuple[str, ...]
    """Names of the terms."""
    propensities: FloatArray
    """Probability that the item stands at its place, shape (users, top_k); 1 where nothing was drawn."""


def recommend(
    recommender: Recommender,
    index: ItemIndex | None,
    histories: Histories,
    user_ids: Sequence[str] | ObjectArray,
    rules: RerankRules,
    *,
    top_k: int,
    as_of: int,
) -> pd.DataFrame:
    """Final lists of users, one row per user and rank.

    Args:
        recommender: Fitted retrievers and weights, bound to the current catalogue.
        index: Searched for the vector retrievers; None: they are searched exactly.
        histories: Histories in item rows of the recommender's catalogue. Give them whole: an item counts as seen
            only when it is in here (each retriever reads its own number of latest interactions).
        user_ids: Aligned with `histories`.
        rules: What the lists must obey.
        top_k: Length of the lists; shorter only where fewer items are available and unseen.
        as_of: Moment of availability and of rule windows, seconds since 1970 UTC.

    Returns:
        Columns `user_id, rank` (from 1)`, item_id, score, source, reason, contributions, propensity`, by user in the
        given order, then rank.
    """
    if len(user_ids) != histories.count:
        raise DataError(f"{len(user_ids)} user ids for {histories.count} histories")
    ranking = _Ranking(recommender, index, rules, top_k=top_k, as_of=as_of)
    ids = np.asarray(user_ids, dtype=object)

    def frame(users: slice, batch: Histories) -> pd.DataFrame:
        return ranking.frame(batch, ids[users], ranking.rank(batch, ids[users]))

    return pd.concat(in_batches(histories, recommender.catalogue.count, frame), ignore_index=True)


def rank_users(
    recommender: Recommender,
    index: ItemIndex | None,
    histories: Histories,
    rules: RerankRules,
    *,
    top_k: int,
    as_of: int,
) -> RankedLists:
    """The lists of `recommend` as arrays, without ids, reasons and exploration, for evaluation."""
    ranking = _Ranking(recommender, index, rules, top_k=top_k, as_of=as_of)
    parts = in_batches(histories, recommender.catalogue.count, lambda _, batch: ranking.rank(batch))
    return RankedLists(
        items=np.concatenate([part.items for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        sources=np.concatenate([part.sources for part in parts]),
        kinds=np.concatenate([part.kinds for part in parts]),
        source_names=ranking.source_names,
        contributions=np.concatenate([part.contributions for part in parts], axis=1),
        terms=parts[0].terms,
        propensities=np.concatenate([part.propensities for part in parts]),
    )


class _Ranking:
    """Everything about a call that does not depend on the users."""

    def __init__(
        self, recommender: Recommender, index: ItemIndex | None, rules: RerankRules, *, top_k: int, as_of: int
    ) -> None:
        if top_k < 1:
            raise ConfigurationError(f"top_k must be at least 1, not {top_k}")
        catalogue = recommender.catalogue
        self._recommender = recommender
        self._resolved: ResolvedRules = resolve_rules(rules, catalogue, as_of=as_of)
        self._is_cold = recommender.is_cold
        self._generator = recommender.candidate_generator(index)
        self._fill = PopularFill(
            recommender.retrievers.get("popularity"), self._resolved.allowed, exclude_seen=rules.exclude_seen
        )
        is_cold_shown = rules.has_cold_slots or recommender.newcomers is not None
        self._is_special = self._is_cold & is_cold_shown
        for _, _, matches in self._resolved.pins:
            self._is_special = self._is_special | matches
        cold = np.flatnonzero(self._is_cold & self._resolved.allowed) if is_cold_shown else np.zeros(0)
        proposals = recommender.config.newcomers.proposals if recommender.newcomers is not None else 0
        self._request = CandidateRequest(
            count=recommender.config.candidates_per_retriever,
            allowed=self._resolved.allowed,
            exclude_seen=rules.exclude_seen,
            extra_rows=self._resolved.extra_rows,
            cold_rows=cold.astype(np.int32),
            cold_count=max(2 * top_k, proposals),
        )
        self._scorer = Scorer(
            recommender,
            boost=self._resolved.boost,
            keep=self._is_special,
            has_cold_slots=rules.has_cold_slots,
            as_of=as_of,
        )
        self._chooser = ListChooser(
            self._resolved, self._is_cold, self._is_special, self._scorer.facts, top_k=top_k, as_of=as_of
        )
        self.source_names = (*recommender.retrievers, RULE)

    def rank(self, histories: Histories, user_ids: ObjectArray | None = None) -> RankedLists:
        """Lists of one batch; places explore only where the users are named."""
        scored = self._scorer.score(self._generator.score(histories, self._request), histories)
        candidates = scored.candidates
        places, kinds, propensities = self._chooser.choose(scored, user_ids)
        is_chosen = places != PADDING
        items = np.where(is_chosen, np.take_along_axis(candidates.items, np.maximum(places, 0), axis=1), PADDING)
        own = np.where(is_chosen, np.take_along_axis(scored.scores, np.maximum(places, 0), axis=1), -np.inf)
        scores = np.maximum.accumulate(own[:, ::-1], axis=1)[:, ::-1]
        terms = self._scorer.contributions(scored, places)
        sources = np.where(is_chosen, self._scorer.sources(scored, terms, places, items), PADDING)
        sources = np.where(kinds >= PINNED, len(self.source_names) - 1, sources)
        ranked = RankedLists(
            items.astype(np.int32),
            scores.astype(np.float32),
            sources.astype(np.int32),
            kinds,
            self.source_names,
            terms,
            self._scorer.terms,
            propensities,
        )
        self._close(ranked, histories)
        is_real = ranked.items != PADDING
        final = np.where(is_real, ranked.scores, np.float32(0))
        missing = np.where(is_real, final - terms.sum(axis=0, dtype=np.float64), 0)
        # Less than this is rounding of the score, not a decision about the place.
        terms[-1] = np.where(np.abs(missing) > ROUNDING, missing, 0)
        return replace(ranked, scores=final)

    def frame(self, histories: Histories, user_ids: ObjectArray, ranked: RankedLists) -> pd.DataFrame:
        """Rows of `recommend` for one batch."""
        users, ranks = np.nonzero(ranked.items != PADDING)
        items = ranked.items[users, ranks]
        names = [self.source_names[place] for place in ranked.sources[users, ranks].tolist()]
        causes = np.full(ranked.items.shape, PADDING, dtype=np.int32)
        for place in np.unique(ranked.sources[users, ranks]):
            retriever = self._recommender.retrievers.get(self.source_names[place])
            if retriever is not None:
                own = np.where(ranked.sources == place, ranked.items, PADDING)
                causes = np.where(own != PADDING, nearest_history_items(retriever, histories, own), causes)
        segments = self._fill.segments(histories)[users].tolist()
        catalogue = self._recommender.catalogue
        cold = self._is_cold[items].tolist()
        reasons = reason_texts(names, causes[users, ranks], segments, catalogue, cold)
        for row in np.flatnonzero(ranked.kinds[users, ranks] >= PINNED):
            pin = self._resolved.pins[ranked.kinds[users[row], ranks[row]] - PINNED]
            reasons[row] = f"pinned by rule {pin[1]!r}"
        return pd.DataFrame(
            {
                Columns.user_id: user_ids[users],
                Columns.rank: ranks + 1,
                Columns.item_id: catalogue.item_ids[items],
                Columns.score: ranked.scores[users, ranks].astype(np.float64),
                Columns.source: np.array(names, dtype=object),
                Columns.reason: np.array(reasons, dtype=object),
                Columns.contributions: compact(ranked.contributions[:, users, ranks], ranked.terms),
                Columns.propensity: ranked.propensities[users, ranks].astype(np.float64),
            }
        )

    def _close(self, ranked: RankedLists, histories: Histories) -> None:
        """Fill short lists with popular items, whose scores go on just below the last one."""
        popularity = self.source_names.index("popularity")
        for user, (begin, end) in self._fill.fill(ranked.items, histories).items():
            last = ranked.scores[user, begin - 1] if begin else np.float32(0)
            ranked.scores[user, begin:end] = last - (np.arange(end - begin) + 1) * np.float32(10**-DECIMALS)
            ranked.sources[user, begin:end] = popularity


__all__ = ["COLD", "FILLED", "NATURAL", "PINNED", "RULE", "RankedLists", "RerankRules", "rank_users", "recommend"]
