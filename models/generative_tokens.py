"""Histories as sequences of tokens: a begin, then the ID of each item in order of time."""

from dataclasses import dataclass

import numpy as np

from models.interactions import PADDING, IntArray, InteractionLog, LongArray
from models.semantic_ids import NO_ID, SemanticIds

PAD, BEGIN = 0, 1
SPECIALS = 2
"""Tokens before the codes."""


@dataclass(frozen=True)
class TokenSpace:
    """Where the tokens of each place of an ID begin among all tokens of the decoder."""

    levels: int
    codes: int
    numbers: int
    """Running numbers, the last token of an ID."""

    @classmethod
    def of(cls, ids: SemanticIds) -> "TokenSpace":
        """The space of these IDs."""
        return cls(len(ids.centres), ids.code_count, ids.config.most_collisions)

    @property
    def length(self) -> int:
        """Tokens of an ID."""
        return self.levels + 1

    @property
    def size(self) -> int:
        """Number of tokens, specials included."""
        return SPECIALS + self.levels * self.codes + self.numbers

    def width(self, place: int) -> int:
        """Number of tokens that may stand at a place of an ID."""
        return self.numbers if place == self.levels else self.codes

    def begin(self, place: int) -> int:
        """First token of a place of an ID."""
        return SPECIALS + place * self.codes

    def encode(self, tokens: IntArray) -> LongArray:
        """Tokens of the decoder for IDs, shape (items, length); `PAD` for items without an ID."""
        offsets = np.array([self.begin(place) for place in range(self.length)], dtype=np.int64)
        return np.where(tokens != NO_ID, tokens + offsets, PAD).astype(np.int64)


def packed_histories(items: IntArray, has_id: np.ndarray, length: int) -> list[IntArray]:
    """The latest items of each history that have an ID, without runs of repeats.

    Args:
        items: Item rows by time, shape (users, places), `PADDING` anywhere.
        has_id: Whether each item has an ID, shape (items,).
        length: Most items kept of each history.
    """
    packed = []
    for row in items:
        known = row[row != PADDING]
        known = known[has_id[known]]
        is_step = np.ones(len(known), dtype=bool)
        is_step[1:] = known[1:] != known[:-1]
        packed.append(known[is_step][-length:])
    return packed


def training_windows(log: InteractionLog, has_id: np.ndarray, length: int) -> list[IntArray]:
    """All histories with two or more items, cut into windows of at most `length` items from their ends."""
    windows = []
    for begin, end in zip(log.start[:-1], log.start[1:], strict=True):
        (known,) = packed_histories(log.item_rows[None, begin:end], has_id, int(end - begin) or 1)
        for last in range(len(known), 1, -length):
            windows.append(known[max(last - length, 0) : last])
    return [window for window in windows if len(window) > 1]


def token_rows(windows: list[IntArray], item_tokens: LongArray) -> LongArray:
    """Windows as token sequences padded on the right, shape (windows, 1 + longest * length of an ID)."""
    longest, length = max(len(window) for window in windows), item_tokens.shape[1]
    rows = np.full((len(windows), 1 + longest * length), PAD, dtype=np.int64)
    rows[:, 0] = BEGIN
    for row, window in zip(rows, windows, strict=True):
        row[1 : 1 + len(window) * length] = item_tokens[window].ravel()
    return rows
