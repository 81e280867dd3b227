"""Fitting `models.newcomers` on validation users, from items with interactions that are scored as if they were new.

For each user: the item taken next, the items nearest in text among the candidates, and items drawn at random, which
stand for all others of their kind. An item never borrows from itself. What it was learned with still shows a little in
the scores of its neighbours, which makes the chances slightly too high; `lift` is chosen with that included.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.candidates import CandidateGenerator, CandidateRequest
from models.chance_trees import ChanceTrees
from models.content import CONTENT
from models.fusion import DoubleArray, ScoredCandidates
from models.interactions import PADDING, BoolArray, FloatArray, Histories, IntArray
from models.lending import Lending
from models.newcomer_config import NewcomerConfig
from models.newcomers import FirstPlaces, Newcomers, Others, best_scores, item_features, place_features
from models.ranking_sample import SEEN_LENGTH
from models.retriever import VectorRetriever
from models.splitting import Holdout
from models.user_batches import batch_size

if TYPE_CHECKING:
    from models.recommender import Recommender

NEAREST, DRAWN = 100, 100
"""Items of each user that are nearest in text, and that are drawn at random."""
ITEM_TREES, PLACE_TREES = 250, 100
"""Trees for the chances of new items, and for those of the items at the places."""
FEWEST_USERS = 200
"""Users who took an item that can be scored as if it were new; with fewer, nothing is fitted."""
NOT_FITTED = (
    f"fewer than {FEWEST_USERS} validation users took an item with a text next; new items compete by their text"
)


@dataclass(frozen=True)
class AsNew:
    """Scores items with interactions as if they had none."""

    generator: CandidateGenerator
    """With a lending that knows all items of `can_be_new`."""
    request: CandidateRequest
    """Of the candidates, without new items."""
    can_be_new: BoolArray
    """Items with interactions and a text, shape (items,)."""
    fusion_weights: FloatArray
    """Of the weighted fusion, shape (retrievers,)."""
    text: int
    """Place of the text retriever among the retrievers."""

    def add_rows(
        self, histories: Histories, wanted: IntArray, drawn: IntArray, items: "_Sample", places: "_Sample"
    ) -> None:
        """Add the rows of one batch of users to the samples of both kinds of chances.

        Args:
            histories: The users.
            wanted: What each took next, shape (users,).
            drawn: Items drawn at random, shape (users, DRAWN).
            items: Gets the items as if they were new.
            places: Gets the first places of the users' lists.
        """

        def chosen(candidates: ScoredCandidates) -> IntArray:
            is_other = (candidates.items != PADDING) & self.can_be_new[np.maximum(candidates.items, 0)]
            return np.concatenate([wanted[:, None], _nearest(candidates, is_other, self.text), drawn], axis=1)

        candidates, rows, scores = self.generator.score_as_new(histories, self.request, chosen)
        fused = candidates.fused(self.fusion_weights)
        is_other = candidates.items != PADDING
        best = best_scores(fused, is_other)
        as_new = ScoredCandidates(rows, scores).fused(self.fusion_weights)
        others = Others(candidates.scores[self.text], fused, is_other)
        is_hit = np.zeros(rows.shape, dtype=bool)
        is_hit[:, 0] = True
        weights = _weights(rows, histories.seen(len(self.can_be_new)), int(self.can_be_new.sum()))
        items.add(item_features(scores, as_new, others, best, histories.lengths, text=self.text), is_hit, weights)
        first = FirstPlaces.of(candidates, fused, fused, is_other)
        listed = np.take_along_axis(candidates.items, first.columns, axis=1)
        is_wanted = first.is_real & (listed == wanted[:, None])
        places.add(place_features(first, histories.lengths), is_wanted, first.is_real.astype(np.float64))


def fit_newcomers(source: AsNew, holdout: Holdout, config: NewcomerConfig, *, seed: int) -> Newcomers | None:
    """Fit both kinds of chances; None where too few users took an item that can be scored as if it were new.

    Args:
        source: Scores items as if they were new.
        holdout: Users, their histories and what they took next; the first target of each user counts.
        config: How many users.
        seed: Of the users and items drawn.
    """
    rng = np.random.default_rng(seed)
    targets = holdout.targets
    first = np.full(holdout.count, PADDING, dtype=np.int64)
    has_target = targets.lengths > 0
    first[has_target] = targets.item_rows[targets.start[:-1][has_target]]
    users = np.flatnonzero((first != PADDING) & source.can_be_new[np.maximum(first, 0)])
    users = np.sort(rng.permutation(users)[: config.users])
    if len(users) < FEWEST_USERS:
        return None
    drawable = np.flatnonzero(source.can_be_new).astype(np.int32)
    items, places = _Sample(), _Sample()
    size = batch_size(len(source.can_be_new))
    for begin in range(0, len(users), size):
        batch = users[begin : begin + size]
        histories = holdout.history.histories(holdout.user_rows[batch], length=SEEN_LENGTH)
        drawn = rng.choice(drawable, (len(batch), DRAWN))
        source.add_rows(histories, first[batch].astype(np.int32), drawn, items, places)
    of_item = items.fitted(ITEM_TREES, seed)
    return Newcomers(source.fusion_weights, source.text, of_item, places.fitted(PLACE_TREES, seed), config.lift or 0.0)


def fit_for(recommender: "Recommender", holdout: Holdout, *, seed: int) -> Newcomers | None:
    """`fit_newcomers` for a fitted recommender; None also where it has no text retriever, or few items have a text."""
    names, config = list(recommender.retrievers), recommender.config
    content = recommender.retrievers.get(CONTENT)
    if not isinstance(content, VectorRetriever):
        return None
    vectors = content.item_vectors()
    can_be_new = ~recommender.is_cold & vectors.any(axis=1)
    lending = Lending(vectors, can_be_new, np.flatnonzero(can_be_new), config.newcomers)
    if not len(lending.neighbours):
        return None
    generator = CandidateGenerator(recommender.retrievers, recommender.text_aware, lending=lending)
    allowed = ~recommender.is_cold & holdout.available(recommender.catalogue)
    none = np.zeros(0, dtype=np.int32)
    request = CandidateRequest(config.candidates_per_retriever, allowed, config.exclude_seen, none, none)
    source = AsNew(generator, request, can_be_new, recommender.weight_array(), names.index(CONTENT))
    return fit_newcomers(source, holdout, config.newcomers, seed=seed)


class _Sample:
    """Rows of one kind of chance."""

    def __init__(self) -> None:
        self._features: list[FloatArray] = []
        self._hits: list[BoolArray] = []
        self._weights: list[DoubleArray] = []

    def add(self, features: Sequence[FloatArray], is_hit: BoolArray, weights: DoubleArray) -> None:
        """Features, outcomes and weights of one shape; rows of weight 0 are left out."""
        kept = weights > 0
        self._features.append(np.stack([np.asarray(feature)[kept] for feature in features], axis=1).astype(np.float32))
        self._hits.append(is_hit[kept])
        self._weights.append(weights[kept])

    def fitted(self, trees: int, seed: int) -> ChanceTrees:
        """The chance of a hit."""
        hits, weights = np.concatenate(self._hits), np.concatenate(self._weights)
        return ChanceTrees.fit(np.concatenate(self._features), hits, weights, trees=trees, seed=seed)


def _nearest(candidates: ScoredCandidates, is_other: BoolArray, text: int) -> IntArray:
    """The candidates nearest in text, shape (users, NEAREST), padded."""
    scores = np.where(is_other, candidates.scores[text], -np.inf)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :NEAREST]
    near = np.where(
        np.take_along_axis(is_other, order, axis=1), np.take_along_axis(candidates.items, order, axis=1), PADDING
    )
    return np.pad(near, ((0, 0), (0, NEAREST - near.shape[1])), constant_values=PADDING).astype(np.int32)


def _weights(rows: IntArray, seen: BoolArray, count: int) -> DoubleArray:
    """How many items each of the chosen rows stands for; 0 for repeats, padding and items that the user has seen."""
    weights = np.ones(rows.shape, dtype=np.float64)
    near = rows[:, 1 : 1 + NEAREST]
    among_near = (near != PADDING).sum(axis=1, keepdims=True)
    weights[:, 1 + NEAREST :] = np.maximum(count - among_near, 1) / DRAWN
    weights[rows == PADDING] = 0
    weights[:, 1:][rows[:, 1:] == rows[:, :1]] = 0
    for user, own in enumerate(rows):
        is_near = np.isin(own[1 + NEAREST :], near[user])
        weights[user, 1 + NEAREST :][is_near] = 0
    weights[:, 1:][np.take_along_axis(seen, np.maximum(rows[:, 1:], 0), axis=1)] = 0
    return weights
