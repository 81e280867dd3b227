"""Interactions and histories as integer arrays: the one form in which models read behaviour.

Items are numbered by their row in a `Catalogue`, users by their row in the log, so no model needs its own
dictionary of ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.errors import DataError
from models.schema import Columns

IntArray = npt.NDArray[np.int32]
LongArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
ObjectArray = npt.NDArray[np.object_]

PADDING = -1
"""Fills the left of shorter rows in padded item arrays."""


@dataclass(frozen=True)
class Histories:
    """A batch of user histories, padded on the left so that the last column is the latest interaction.

    Shapes: `items`, `weights`, `event_ats` are (users, length); `segments` is (users,). `event_ats` are seconds
    since 1970 UTC. A user without history has a row of padding.
    """

    items: IntArray
    weights: FloatArray
    event_ats: LongArray
    segments: ObjectArray
    """Segment of each user, the empty string where unknown."""
    hidden: IntArray | None = None
    """Items that each user asked not to see, shape (users, width), padded; None: nobody did. They are no history."""

    @property
    def count(self) -> int:
        """Number of users."""
        return int(self.items.shape[0])

    @property
    def lengths(self) -> LongArray:
        """Number of interactions of each user, shape (users,)."""
        return np.asarray((self.items != PADDING).sum(axis=1), dtype=np.int64)

    def seen(self, item_count: int) -> BoolArray:
        """Which items are in each user's history, shape (users, items)."""
        seen = np.zeros((self.count, item_count), dtype=bool)
        users, places = np.nonzero(self.items != PADDING)
        seen[users, self.items[users, places]] = True
        return seen

    def last(self, length: int) -> "Histories":
        """The same users with at most their `length` latest interactions."""
        return replace(
            self,
            items=self.items[:, -length:],
            weights=self.weights[:, -length:],
            event_ats=self.event_ats[:, -length:],
        )

    def of_users(self, users: LongArray | slice) -> "Histories":
        """Some of the users, in the given order."""
        hidden = None if self.hidden is None else self.hidden[users]
        return Histories(self.items[users], self.weights[users], self.event_ats[users], self.segments[users], hidden)


@dataclass(frozen=True)
class InteractionLog:
    """Interactions sorted by user, then time, then source order.

    `item_rows`, `event_ats` (seconds since 1970 UTC) and `weights` have one entry per interaction; those of user
    row `u` are `start[u]:start[u + 1]`.
    """

    user_ids: ObjectArray
    segments: ObjectArray
    start: LongArray
    item_rows: IntArray
    event_ats: LongArray
    weights: FloatArray
    item_count: int
    """Number of items in the catalogue that `item_rows` refers to."""

    @classmethod
    def from_frame(
        cls, frame: pd.DataFrame, item_ids: Sequence[str] | ObjectArray, segments: dict[str, str] | None = None
    ) -> "InteractionLog":
        """Build from a frame with `user_id, item_id, event_at, weight` and optionally `position`.

        Args:
            frame: One row per interaction. Rows whose item is not in `item_ids` are left out.
            item_ids: The catalogue's item ids in row order.
            segments: Segment by user id; users that are absent get the empty string.
        """
        rows = pd.Index(np.asarray(item_ids, dtype=object)).get_indexer(pd.Index(frame[Columns.item_id]))
        is_known = rows >= 0
        known = frame[is_known]
        # Numbers sort many times faster than the ids themselves.
        users, user_ids = pd.factorize(known[Columns.user_id], sort=True)
        moments = known[Columns.event_at].to_numpy()
        places = [known["position"].to_numpy()] if "position" in frame.columns else []
        order = np.lexsort([*places, moments, users])
        names = np.asarray(user_ids, dtype=object)
        by_user = segments or {}
        return cls(
            user_ids=names,
            segments=np.array([by_user.get(user) or "" for user in names], dtype=object),
            start=np.concatenate([[0], np.cumsum(np.bincount(users, minlength=len(names)))]).astype(np.int64),
            item_rows=rows[is_known][order].astype(np.int32),
            event_ats=to_seconds(known[Columns.event_at])[order],
            weights=known[Columns.weight].to_numpy(dtype=np.float32)[order],
            item_count=len(item_ids),
        )

    @property
    def user_count(self) -> int:
        """Number of users with at least one interaction."""
        return len(self.user_ids)

    @property
    def user_rows(self) -> IntArray:
        """User row of each interaction, shape (interactions,)."""
        return np.repeat(np.arange(self.user_count, dtype=np.int32), np.diff(self.start))

    @property
    def item_counts(self) -> LongArray:
        """Interactions of each item, shape (items,)."""
        return np.bincount(self.item_rows, minlength=self.item_count).astype(np.int64)

    def histories(self, users: Sequence[int] | npt.NDArray[np.integer], *, length: int = 200) -> Histories:
        """The `length` latest interactions of the given user rows, left-padded to the longest of them."""
        chosen = np.asarray(users, dtype=np.int64)
        ends = self.start[chosen + 1]
        begins = np.maximum(self.start[chosen], ends - length)
        width = max(int((ends - begins).max(initial=0)), 1)
        columns = ends[:, None] - width + np.arange(width)[None, :]
        is_real = columns >= begins[:, None]
        safe = np.where(is_real, columns, 0)
        if not len(self.item_rows):
            return empty_histories(self.segments[chosen])
        return Histories(
            items=np.where(is_real, self.item_rows[safe], PADDING).astype(np.int32),
            weights=np.where(is_real, self.weights[safe], 0.0).astype(np.float32),
            event_ats=np.where(is_real, self.event_ats[safe], 0).astype(np.int64),
            segments=self.segments[chosen],
        )

    def select(self, keep: BoolArray) -> "InteractionLog":
        """The log with only the interactions where `keep` is true; users stay, possibly with nothing."""
        counts = np.bincount(self.user_rows[keep], minlength=self.user_count)
        return InteractionLog(
            user_ids=self.user_ids,
            segments=self.segments,
            start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            item_rows=self.item_rows[keep],
            event_ats=self.event_ats[keep],
            weights=self.weights[keep],
            item_count=self.item_count,
        )


def empty_histories(segments: ObjectArray) -> Histories:
    """Histories of users without any interaction, one per entry of `segments`."""
    shape = (len(segments), 1)
    return Histories(
        np.full(shape, PADDING, np.int32), np.zeros(shape, np.float32), np.zeros(shape, np.int64), segments
    )


def to_seconds(times: pd.Series) -> LongArray:
    """UTC times as whole seconds since 1970.

    Raises:
        DataError: a time is missing.
    """
    if times.isna().any():
        raise DataError(f"column {times.name!r} has {int(times.isna().sum())} missing times; quarantine them first")
    return times.to_numpy(dtype="datetime64[s]").astype(np.int64)
