"""The lists of many users at once, place by place, where no pin asks for a place of its own.

The rule of `models.reranking.ListBuilder` as operations on arrays over users: at each place the best reserved item
where one is owed, else the best item that fits the caps. Caps only fill up, so what did not fit once is not looked at
again.
"""

from dataclasses import dataclass

import numpy as np

from models.interactions import PADDING, BoolArray, IntArray
from models.reranking import COLD, FILLED, NATURAL, UNCAPPED, ResolvedRules


@dataclass(frozen=True)
class ListBatch:
    """Lists of shape (users, top_k), padded where candidates or caps do not allow more."""

    places: IntArray
    """Column of the candidate; -1 on padding."""
    kinds: IntArray
    """`NATURAL` or `COLD`; `FILLED` on padding."""

    @property
    def is_full(self) -> BoolArray:
        """Whose list has no padding, shape (users,)."""
        return np.asarray((self.places != PADDING).all(axis=1))


def build_batch(items: IntArray, resolved: ResolvedRules, is_cold: BoolArray, *, top_k: int) -> ListBatch:
    """Lists within the caps, as `ListBuilder.build_within_caps` makes them for each user alone.

    Args:
        items: Candidates (allowed, unseen, distinct) of each user, best first, padded at the end; (users, candidates).
        resolved: Rules without pins.
        is_cold: Items without interactions, shape (items,).
        top_k: Length of the lists.
    """
    users = np.arange(len(items))
    rows = np.maximum(items, 0)
    is_free = items != PADDING
    is_cold_candidate = is_cold[rows] & is_free
    caps = [
        _Cap(codes[rows], most)
        for codes, most in (
            (resolved.categories, resolved.rules.max_per_category),
            (resolved.brands, resolved.rules.max_per_brand),
        )
        if most
    ]
    places = np.full((len(items), top_k), PADDING, dtype=np.int32)
    kinds = np.full(places.shape, FILLED, dtype=np.int32)
    cold_used = np.zeros(len(items), dtype=np.int64)
    for position in range(top_k if items.shape[1] else 0):
        is_reserved = cold_used < resolved.rules.cold_owed(position + 1)
        chosen = is_free.argmax(axis=1)
        if is_reserved.any():
            free_cold = is_free & is_cold_candidate & is_reserved[:, None]
            is_reserved = free_cold.any(axis=1)
            chosen = np.where(is_reserved, free_cold.argmax(axis=1), chosen)
        has_any = is_free[users, chosen]
        places[:, position] = np.where(has_any, chosen, PADDING)
        kinds[:, position] = np.where(has_any, np.where(is_reserved, COLD, NATURAL), FILLED)
        cold_used += is_cold_candidate[users, chosen] & has_any
        is_free[users, chosen] = False
        for cap in caps:
            cap.close(is_free, places[:, : position + 1])
    return ListBatch(places, kinds)


class _Cap:
    """At most so many items of one code in a list."""

    def __init__(self, codes: IntArray, most: int) -> None:
        self._codes = codes
        self._most = most

    def close(self, is_free: BoolArray, places: IntArray) -> None:
        """Free no longer: items whose code the last place has filled up."""
        own = np.where(places == PADDING, UNCAPPED, np.take_along_axis(self._codes, np.maximum(places, 0), axis=1))
        last = own[:, -1:]
        is_full = (last != UNCAPPED) & ((own == last).sum(axis=1, keepdims=True) >= self._most)
        for user in np.flatnonzero(is_full):
            is_free[user] &= self._codes[user] != last[user]
