"""Items of the users' own histories, and how proposals pass over them."""

import numpy as np

from models.interactions import PADDING, Histories, IntArray, LongArray


class SeenItems:
    """Of one batch of users."""

    def __init__(self, histories: Histories, item_count: int) -> None:
        self.users, places = np.nonzero(histories.items != PADDING)
        self.items = histories.items[self.users, places].astype(np.int64)
        self.mask = histories.seen(item_count)
        """Shape (users, items)."""

    @property
    def most(self) -> int:
        """Most different items that one of the users has seen."""
        return int(self.mask.sum(axis=1).max(initial=0))

    def of_block(self, begin: int, end: int) -> tuple[LongArray, LongArray]:
        """Users from `begin` to `end`, counted from `begin`, and items that they have seen."""
        first, last = np.searchsorted(self.users, [begin, end])
        return self.users[first:last] - begin, self.items[first:last]


def first_unseen(rows: IntArray, seen: SeenItems | None, count: int) -> IntArray:
    """The first `count` rows of each user that the user has not seen, in order, padded at the end."""
    if seen is None:
        return rows[:, :count].astype(np.int32)
    is_kept = (rows != PADDING) & ~np.take_along_axis(seen.mask, np.maximum(rows, 0), axis=1)
    order = np.argsort(~is_kept, axis=1, kind="stable")[:, :count]
    return np.where(
        np.take_along_axis(is_kept, order, axis=1), np.take_along_axis(rows, order, axis=1), PADDING
    ).astype(np.int32)
