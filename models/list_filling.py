"""What closes a list that the candidates leave short: the most popular items that the user may be shown."""

import numpy as np

from models.errors import ConfigurationError
from models.interactions import PADDING, BoolArray, Histories, IntArray, ObjectArray
from models.popularity import PopularityRetriever
from models.retriever import Retriever
from models.top_rows import top_rows


class PopularFill:
    """Allowed items by popularity, in the order of each segment."""

    def __init__(self, retriever: Retriever | None, allowed: BoolArray, *, exclude_seen: bool) -> None:
        """Bind to a fitted popularity retriever.

        Raises:
            ConfigurationError: it is another retriever, or none.
        """
        if not isinstance(retriever, PopularityRetriever):
            raise ConfigurationError("the recommender has no fitted 'popularity' retriever, which fills short lists")
        self._popularity = retriever
        self._allowed = allowed
        self._exclude_seen = exclude_seen
        self._orders: dict[int, IntArray] = {}

    def segments(self, histories: Histories) -> ObjectArray:
        """Segment whose popularity each user gets; empty for everyone's."""
        names = np.array(self._popularity.table()[0], dtype=object)
        return np.asarray(names[self._popularity.segment_rows(histories.segments)], dtype=object)

    def fill(self, items: IntArray, histories: Histories) -> dict[int, tuple[int, int]]:
        """Fill lists in place.

        Args:
            items: Lists, shape (users, top_k); padding at the end is replaced while anything is left to show.
            histories: The users.

        Returns:
            First filled place and the one behind the last, by user.
        """
        filled: dict[int, tuple[int, int]] = {}
        segment_rows = self._popularity.segment_rows(histories.segments)
        for user in np.flatnonzero((items == PADDING).any(axis=1)).tolist():
            begin = int((items[user] != PADDING).sum())
            taken = items[user, :begin]
            if self._exclude_seen:
                taken = np.concatenate([taken, histories.items[user]])
            if histories.hidden is not None:
                taken = np.concatenate([taken, histories.hidden[user]])
            more = self._order(int(segment_rows[user]))[: items.shape[1] + len(taken)]
            more = more[~np.isin(more, taken)][: items.shape[1] - begin]
            items[user, begin : begin + len(more)] = more
            filled[user] = (begin, begin + len(more))
        return filled

    def _order(self, segment_row: int) -> IntArray:
        """Allowed items by popularity in a segment, shape (allowed items,)."""
        if segment_row not in self._orders:
            scores = np.where(self._allowed, self._popularity.table()[1][segment_row], -np.inf).astype(np.float32)
            order = top_rows(scores[None, :], len(scores))[0]
            self._orders[segment_row] = order[order != PADDING]
        return self._orders[segment_row]
