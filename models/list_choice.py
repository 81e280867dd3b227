"""Which candidates stand in the lists, and where: best first, within the rules, with variety and exploration on top."""

from functools import cached_property

import numpy as np

from models.diversification import POOL, Pool, reorder
from models.exploration import draws, explore
from models.interactions import PADDING, BoolArray, FloatArray, IntArray, ObjectArray
from models.list_batches import build_batch
from models.rank_features import ItemFacts
from models.reranking import COLD, FILLED, NATURAL, PINNED, ListBuilder, ResolvedRules
from models.scoring import Scored
from models.top_rows import top_rows

LOOK_AHEAD = 200
"""Best candidates that are looked at first when places are filled one by one; all of them where that is not enough."""


class ListChooser:
    """Chooses for batch after batch of users."""

    def __init__(
        self,
        resolved: ResolvedRules,
        is_cold: BoolArray,
        is_special: BoolArray,
        facts: ItemFacts,
        *,
        top_k: int,
        as_of: int,
    ) -> None:
        """Bind to the rules.

        Args:
            resolved: What the lists must obey.
            is_cold: Items without interactions, shape (items,).
            is_special: Items that a rule may put into a list from far down, shape (items,).
            facts: Of the items.
            top_k: Length of the lists.
            as_of: Seconds since 1970 UTC; exploration draws anew for each.
        """
        self._resolved = resolved
        self._is_cold = is_cold
        self._is_special = is_special
        self._facts = facts
        self._top_k, self._as_of = top_k, as_of

    @cached_property
    def _builder(self) -> ListBuilder:
        return ListBuilder(self._resolved, self._is_cold, top_k=self._top_k)

    def choose(self, scored: Scored, user_ids: ObjectArray | None) -> tuple[IntArray, IntArray, FloatArray]:
        """Columns of the chosen candidates, their kinds and propensities, shape (users, top_k).

        Args:
            scored: Candidates with their scores.
            user_ids: Whose they are; None: places do not explore.
        """
        rules = self._resolved.rules
        if not self._resolved.needs_choice:
            places = _widened(top_rows(scored.scores, self._top_k), self._top_k)
            kinds = np.where(places == PADDING, FILLED, NATURAL).astype(np.int32)
            return places, kinds, np.ones(places.shape, dtype=np.float32)
        if self._resolved.pins or rules.is_diversified or rules.explore_share:
            return self._one_by_one(scored, user_ids)
        return self._all_at_once(scored)

    def _all_at_once(self, scored: Scored) -> tuple[IntArray, IntArray, FloatArray]:
        """Lists of all users together: from the best candidates, where the caps ask for more from all of them.

        Whom the caps leave short even then gets a list alone.
        """
        items = scored.candidates.items
        is_near = self._is_special[np.maximum(items, 0)]
        best = top_rows(scored.scores, LOOK_AHEAD)
        users, columns = np.nonzero(best != PADDING)
        is_near[users, best[users, columns]] = True
        places, kinds = self._within_caps(scored.scores, items, is_near & (items != PADDING))
        short = np.flatnonzero((places == PADDING).any(axis=1))
        if len(short) and items.shape[1] > LOOK_AHEAD:
            places[short], kinds[short] = self._within_caps(scored.scores[short], items[short], items[short] != PADDING)
            short = np.flatnonzero((places == PADDING).any(axis=1))
        for user in short.tolist():
            places[user], kinds[user] = self._list(items[user], _best_first(scored, user))
        return places, kinds, np.ones(places.shape, dtype=np.float32)

    def _within_caps(self, scores: FloatArray, items: IntArray, is_candidate: BoolArray) -> tuple[IntArray, IntArray]:
        """Columns and kinds of lists within the caps, from some of the candidates."""
        widest = int(is_candidate.sum(axis=1).max(initial=0))
        order = top_rows(np.where(is_candidate, scores, np.float32(-np.inf)), widest)
        made = build_batch(_taken(items, order), self._resolved, self._is_cold, top_k=self._top_k)
        return _taken(order, made.places), made.kinds

    def _one_by_one(self, scored: Scored, user_ids: ObjectArray | None) -> tuple[IntArray, IntArray, FloatArray]:
        items = scored.candidates.items
        places = np.full((len(items), self._top_k), PADDING, dtype=np.int32)
        kinds = np.full(places.shape, FILLED, dtype=np.int32)
        chances = np.ones(places.shape, dtype=np.float32)
        share = self._resolved.rules.explore_share
        for user in range(len(items)):
            own = self._varied(_best_first(scored, user), scored, user)
            places[user], kinds[user] = self._list(items[user], own)
            if share and user_ids is not None:
                fixed = [kind in (COLD, FILLED) or kind >= PINNED for kind in kinds[user].tolist()]
                numbers = draws(str(user_ids[user]), self._as_of, self._top_k)
                places[user], chances[user] = explore(own, places[user], fixed, share, numbers)
        return places, kinds, chances

    def _list(self, items: IntArray, own: IntArray) -> tuple[IntArray, IntArray]:
        """Columns and kinds of one user's list, from all columns in the wanted order."""
        slots = self._slots(items[own])
        places = np.full(self._top_k, PADDING, dtype=np.int32)
        kinds = np.full(self._top_k, FILLED, dtype=np.int32)
        places[: len(slots)] = own[[place for place, _ in slots]]
        kinds[: len(slots)] = [kind for _, kind in slots]
        return places, kinds

    def _slots(self, items: IntArray) -> list[tuple[int, int]]:
        """Place in `items` (best first) and kind of each slot of one user."""
        if len(items) > LOOK_AHEAD:
            near = np.flatnonzero((np.arange(len(items)) < LOOK_AHEAD) | self._is_special[items])
            slots = self._builder.build_within_caps(items[near].tolist())
            if len(slots) == self._top_k:
                return [(int(near[slot.place]), slot.kind) for slot in slots]
        return [(slot.place, slot.kind) for slot in self._builder.build(items.tolist())]

    def _varied(self, order: IntArray, scored: Scored, user: int) -> IntArray:
        """The columns of one user, best first, with the order of the best changed for variety."""
        rules, facts = self._resolved.rules, self._facts
        if not rules.is_diversified:
            return order
        best = order[:POOL]
        items = scored.candidates.items[user][best]
        categories = facts.categories[items]
        history = scored.histories.items[user]
        seen = facts.categories[history[history != PADDING]]
        vectors = facts.vectors[items] if facts.vectors is not None else _one_hot(categories)
        pool = Pool(scored.scores[user][best], vectors, categories, seen[seen >= 0])
        return np.concatenate([best[reorder(pool, rules.diversity, rules.diversity_weight, self._top_k)], order[POOL:]])


def _best_first(scored: Scored, user: int) -> IntArray:
    """All columns of one user's candidates; ties go to the lower column."""
    scores = scored.scores[user : user + 1]
    order = top_rows(scores, scores.shape[1])[0]
    return np.asarray(order[order != PADDING], dtype=np.int32)


def _taken(values: IntArray, columns: IntArray) -> IntArray:
    """Values at the columns of each row, padded where these are."""
    if not values.shape[1]:
        return np.full(columns.shape, PADDING, dtype=np.int32)
    taken = np.take_along_axis(values, np.maximum(columns, 0), axis=1)
    return np.where(columns == PADDING, PADDING, taken).astype(np.int32)


def _one_hot(codes: IntArray) -> FloatArray:
    """Vectors that say only whether two items share a code; zero where there is none."""
    same = (codes[:, None] == np.unique(codes[codes >= 0])[None, :]).astype(np.float32)
    return same if same.shape[1] else np.zeros((len(codes), 1), dtype=np.float32)


def _widened(places: IntArray, width: int) -> IntArray:
    return np.pad(places, ((0, 0), (0, width - places.shape[1])), constant_values=PADDING).astype(np.int32)
