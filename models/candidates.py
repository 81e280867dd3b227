"""Candidates: what each retriever proposes for each user, and what all retrievers say of the union.

All work is done for batches of users, so that memory stays bounded by (users of a batch) x (items).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from models.content import CONTENT
from models.exact_products import ExactItems
from models.fusion import ScoredCandidates, leading_columns, normalise
from models.interactions import PADDING, BoolArray, FloatArray, Histories, IntArray, LongArray
from models.lending import Lending
from models.retriever import Retriever, VectorRetriever
from models.score_view import ScoreView
from models.silent_view import SilentView
from models.sparse_scores import best_entries
from models.top_rows import top_rows
from models.unshown_items import UnshownItems, first_shown
from models.vector_index import ItemIndex

DENSE_ITEMS = 65_536
"""Up to so many items, scores of all of them are made; above, those of a vector retriever only at the candidates, and
those of a sparse one only where they are not 0."""
_USERS_AT_ONCE = 16
"""Users whose proposals are looked for at once: their scores stay in the cache of a core."""
_NOTHING: tuple[LongArray, LongArray] = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
_KNOW_TEXT = (CONTENT, "two_tower")
"""Retrievers to whom a new item is an item like any other; in all others it borrows."""


@dataclass(frozen=True)
class CandidateRequest:
    """Which items may be proposed."""

    count: int
    """Proposals of each retriever."""
    allowed: BoolArray
    """Items that may be recommended at all, shape (items,)."""
    exclude_seen: bool
    """Whether items of a user's own history are left out."""
    extra_rows: IntArray
    """Items that are candidates for everyone."""
    cold_rows: IntArray
    """Items without interactions that text-aware retrievers propose on top; empty: none."""
    cold_count: int = 0
    """Cold proposals for each user and text-aware retriever."""


class CandidateGenerator:
    """Asks every retriever for proposals and scores their union."""

    def __init__(
        self,
        retrievers: Mapping[str, Retriever],
        text_aware: tuple[str, ...],
        index: ItemIndex | None = None,
        exact: dict[str, ExactItems] | None = None,
        lending: Lending | None = None,
        silent: frozenset[str] = frozenset(),
    ) -> None:
        """Bind retrievers and, where there is one, the index.

        Args:
            retrievers: Fitted retrievers by name, all bound to one catalogue.
            text_aware: Names of those that know an item from its text alone.
            index: Searched for the retrievers that it has vectors of; all others are searched exactly.
            exact: Rounded item vectors by retriever, kept from one generator to the next; those that are missing or
                of other vectors are made here.
            lending: Of the new items; None: they have what the retrievers make of them, and count like all others.
            silent: Retrievers whose scores count nothing. They are asked for cold items only, and only where they know
                an item from its text alone.
        """
        self._lending, self._silent = lending, silent
        self._retrievers = retrievers
        self._text_aware = text_aware
        self._index = index
        self._exact: dict[str, ExactItems] = {} if exact is None else exact
        self._label_rows: IntArray | None = None
        self._is_indexed: BoolArray = np.zeros(0, dtype=bool)
        """Items of the catalogue that the index has, shape (items,)."""

    def bind(self, item_ids: np.ndarray[tuple[int], np.dtype[np.object_]]) -> None:
        """Translate labels of the index to rows of the catalogue with these ids."""
        if self._index is not None:
            self._label_rows = self._index.catalogue_rows(item_ids)
            self._is_indexed = np.zeros(len(item_ids), dtype=bool)
            self._is_indexed[self._label_rows[self._label_rows >= 0]] = True

    def score(self, histories: Histories, request: CandidateRequest) -> ScoredCandidates:
        """Normalised scores of the union of all proposals, for one batch of users.

        A user without a history gets the proposals of popularity only (and the extra items).
        """
        views = self._views(histories, request)
        items = self._union(views, histories, request)
        is_new = np.zeros(items.shape, dtype=bool) if self._lending is None else self._lending.borrows(items)
        return ScoredCandidates(items, self._normalised(views, items, is_new))

    def score_as_new(
        self, histories: Histories, request: CandidateRequest, choose: Callable[[ScoredCandidates], IntArray]
    ) -> tuple[ScoredCandidates, IntArray, FloatArray]:
        """Candidates as of `score`, and what some items with interactions would score if they were new.

        Args:
            histories: One batch of users.
            request: Of the candidates.
            choose: Says which items, shape (users, count), padded, from the candidates.

        Returns:
            The candidates, the chosen items, and their scores, shape (retrievers, users, count).
        """
        views = self._views(histories, request)
        items = self._union(views, histories, request)
        candidates = ScoredCandidates(items, self._normalised(views, items, np.zeros(items.shape, dtype=bool)))
        chosen = choose(candidates)
        together = np.concatenate([items, chosen], axis=1)
        is_new = np.broadcast_to(np.arange(together.shape[1]) >= items.shape[1], together.shape)
        scores = self._normalised(views, together, is_new & (together != PADDING))
        return candidates, chosen, scores[:, :, items.shape[1] :]

    def _views(self, histories: Histories, request: CandidateRequest) -> dict[str, ScoreView | SilentView]:
        views: dict[str, ScoreView | SilentView] = {}
        for name, retriever in self._retrievers.items():
            if name in self._silent:
                cold = request.cold_rows if name in self._text_aware else request.cold_rows[:0]
                views[name] = SilentView(retriever, histories, cold, len(request.allowed))
            else:
                is_large = len(request.allowed) > DENSE_ITEMS
                views[name] = ScoreView(retriever, histories, self._exact_items(name), is_large=is_large)
        return views

    def _union(
        self, views: Mapping[str, ScoreView | SilentView], histories: Histories, request: CandidateRequest
    ) -> IntArray:
        """All that is proposed, shape (users, candidates)."""
        has_history = histories.lengths > 0
        unshown = UnshownItems.of(histories, len(request.allowed), exclude_seen=request.exclude_seen)
        proposals = [
            self._propose(name, view, request, unshown, has_history)
            for name, view in views.items()
            if isinstance(view, ScoreView)
        ]
        proposals += [
            _masked(view.best(request.cold_rows, request.cold_count), has_history)
            for name, view in views.items()
            if name in self._text_aware and len(request.cold_rows) and request.cold_count
        ]
        proposals.append(np.repeat(request.extra_rows[None, :], histories.count, axis=0))
        return _union(np.concatenate(proposals, axis=1), request.allowed, unshown)

    def _normalised(
        self, views: Mapping[str, ScoreView | SilentView], items: IntArray, is_new: BoolArray
    ) -> FloatArray:
        """Scores by each retriever, shape (retrievers, users, candidates); new items do not change those of others."""
        is_candidate = items != PADDING
        rows = np.maximum(items, 0)
        if self._lending is None or not is_new.any():
            return np.stack([normalise(view.at(rows), is_candidate & view.knows(rows)) for view in views.values()])
        columns = leading_columns(is_new)
        own = np.where(np.take_along_axis(is_new, columns, axis=1), np.take_along_axis(rows, columns, axis=1), PADDING)
        scores = np.empty((len(views), *items.shape), dtype=np.float32)
        for place, (name, view) in enumerate(views.items()):
            raw = view.at(rows)
            if name not in _KNOW_TEXT:
                lent = np.zeros(items.shape, dtype=np.float32)
                np.put_along_axis(lent, columns, self._lending.borrowed(view.at, own), axis=1)
                raw = np.where(is_new, lent, raw)
            scores[place] = normalise(raw, is_candidate, is_candidate & ~is_new)
        return scores

    def _propose(
        self,
        name: str,
        view: ScoreView,
        request: CandidateRequest,
        unshown: UnshownItems | None,
        has_history: BoolArray,
    ) -> IntArray:
        """Item rows, shape (users, count), padded."""
        if self._index is not None and self._label_rows is not None and name in self._index.names and view.vectors:
            labels = self._label_rows
            if self._index.is_exact(name) and view.is_dense:
                # The search would make the very products that the scores of the candidates are read from.
                return self._best_of_all(view, request.count, request.allowed & self._is_indexed, unshown, has_history)
            allowed = (labels >= 0) & request.allowed[np.maximum(labels, 0)]
            # Items not shown take up places in the answer, so ask for as many more as anyone has of them.
            more = 0 if unshown is None else unshown.most
            found = self._index.search(
                name, view.vectors[0], request.count + more, allowed=None if allowed.all() else allowed
            )
            rows = np.where(found >= 0, labels[np.maximum(found, 0)], PADDING)
            return _masked(first_shown(rows, unshown, request.count), has_history)
        return self._best_of_all(view, request.count, request.allowed, unshown, has_history)

    def _best_of_all(
        self,
        view: ScoreView,
        count: int,
        allowed: BoolArray,
        unshown: UnshownItems | None,
        has_history: BoolArray,
    ) -> IntArray:
        """The best rows by dense scores, shape (users, count); without vectors, a score of 0 proposes nothing."""
        if view.shared is not None:
            return _best_of_shared(view.shared, count, allowed, unshown)
        if view.sparse is not None:
            return _masked(best_entries(view.sparse, count, allowed, unshown), has_history)
        scores = view.dense()
        rows = np.empty((len(scores), min(count, scores.shape[1])), dtype=np.int32)
        for begin in range(0, len(scores), _USERS_AT_ONCE):
            some = slice(begin, begin + _USERS_AT_ONCE)
            own, (users, items) = scores[some], _NOTHING if unshown is None else unshown.of_block(begin, some.stop)
            if view.vectors and allowed.all():
                # Masked in place and put back: a copy would cost more than all that is done with it.
                kept = own[users, items]
                own[users, items] = -np.inf
                rows[some] = top_rows(own, count)
                own[users, items] = kept
                continue
            among = np.broadcast_to(allowed, own.shape).copy() if view.vectors else (own != 0) & allowed
            among[users, items] = False
            rows[some] = top_rows(own, count, among)
        return _masked(rows, has_history)

    def _exact_items(self, name: str) -> ExactItems | None:
        """Rounded item vectors of a vector retriever of a catalogue that is scored as a whole; None for others."""
        retriever = self._retrievers[name]
        if not isinstance(retriever, VectorRetriever):
            return None
        vectors, found = retriever.item_vectors(), self._exact.get(name)
        if len(vectors) > DENSE_ITEMS:
            return None
        if found is None or found.items is not vectors:
            found = self._exact[name] = ExactItems(vectors)
        return found


def _best_of_shared(
    shared: tuple[IntArray, FloatArray], count: int, allowed: BoolArray, unshown: UnshownItems | None
) -> IntArray:
    """The best rows of each user where users share their scores, shape (users, count); a score of 0 proposes nothing.

    Items not shown take up places in the common order, so it is as much longer as anyone has of them.
    """
    row_of_user, scores = shared
    more = 0 if unshown is None else unshown.most
    orders = top_rows(np.where(allowed & (scores != 0), scores, np.float32(-np.inf)), count + more)
    return first_shown(orders[row_of_user], unshown, min(count, scores.shape[1]))


def _masked(rows: IntArray, is_kept: BoolArray) -> IntArray:
    return np.where(is_kept[:, None], rows, np.int32(PADDING))


def _union(proposals: IntArray, allowed: BoolArray, unshown: UnshownItems | None) -> IntArray:
    """Distinct allowed items that each user may be shown, ascending, padded on the right."""
    rows = np.sort(proposals, axis=1)
    safe = np.maximum(rows, 0)
    is_kept = (rows != PADDING) & allowed[safe]
    is_kept[:, 1:] &= rows[:, 1:] != rows[:, :-1]
    if unshown is not None:
        is_kept &= ~np.take_along_axis(unshown.mask, safe, axis=1)
    width = max(int(is_kept.sum(axis=1).max(initial=0)), 1)
    items = np.full((len(rows), width), PADDING, dtype=np.int32)
    users, _ = np.nonzero(is_kept)
    places = (np.cumsum(is_kept, axis=1) - 1)[is_kept]
    items[users, places] = rows[is_kept]
    return items
