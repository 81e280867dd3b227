"""Items that users are not shown: those of their own histories and those that they hid; proposals pass over them."""

from typing import Self

import numpy as np

from models.interactions import PADDING, Histories, IntArray, LongArray


class UnshownItems:
    """Of one batch of users."""

    def __init__(self, rows: IntArray, item_count: int) -> None:
        """Take items by user, shape (users, width), padded anywhere."""
        self.users, places = np.nonzero(rows != PADDING)
        self.items = rows[self.users, places].astype(np.int64)
        self.mask = np.zeros((len(rows), item_count), dtype=bool)
        """Shape (users, items)."""
        self.mask[self.users, self.items] = True

    @classmethod
    def of(cls, histories: Histories, item_count: int, *, exclude_seen: bool) -> Self | None:
        """Items that users hid and, where seen ones are left out, those of their histories; None where there are none.

        Args:
            histories: One batch of users.
            item_count: Size of the catalogue.
            exclude_seen: Whether items of a user's own history are left out.
        """
        seen = [histories.items] if exclude_seen else []
        hidden = [] if histories.hidden is None else [histories.hidden]
        return cls(np.concatenate([*seen, *hidden], axis=1), item_count) if seen or hidden else None

    @property
    def most(self) -> int:
        """Most different items that one of the users is not shown."""
        # The mask has a cell for every item of the catalogue.
        width = max(self.mask.shape[1], 1)
        return int(np.bincount(np.unique(self.users * width + self.items) // width).max(initial=0))

    def of_block(self, begin: int, end: int) -> tuple[LongArray, LongArray]:
        """Users from `begin` to `end`, counted from `begin`, and items that they are not shown."""
        first, last = np.searchsorted(self.users, [begin, end])
        return self.users[first:last] - begin, self.items[first:last]


def first_shown(rows: IntArray, unshown: UnshownItems | None, count: int) -> IntArray:
    """The first `count` rows of each user that the user may be shown, in order, padded at the end."""
    if unshown is None:
        return rows[:, :count].astype(np.int32)
    is_kept = (rows != PADDING) & ~np.take_along_axis(unshown.mask, np.maximum(rows, 0), axis=1)
    order = np.argsort(~is_kept, axis=1, kind="stable")[:, :count]
    return np.where(
        np.take_along_axis(is_kept, order, axis=1), np.take_along_axis(rows, order, axis=1), PADDING
    ).astype(np.int32)
