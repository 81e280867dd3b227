"""Histories as training windows and length-bucketed batches: little padding, every position a target."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from models.interactions import PADDING, BoolArray, IntArray, InteractionLog, LongArray
from models.sequence_config import SequenceConfig
from models.sequence_times import FIRST, gap_buckets
from models.splitting import pair_codes

LENGTH_JITTER = 0.15
"""Share of a window's length by which batches mix lengths, so that the same users do not always meet."""


@dataclass(frozen=True)
class Windows:
    """Stretches of histories: inputs are `rows[begin:begin + length]`, targets those one place later."""

    rows: IntArray
    """Vocabulary rows of all interactions, by user and time."""
    is_target: BoolArray
    """Which interactions may be predicted, shape of `rows`."""
    begin: LongArray
    length: LongArray
    gaps: IntArray
    """Bucket of the time since the interaction before, shape of `rows`."""
    tied: LongArray
    """Number of the user and second of each interaction, ascending, shape of `rows`."""

    def shuffled(self, rng: np.random.Generator) -> "Windows":
        """The same windows with the interactions of each user and second in a random order."""
        order = np.lexsort((rng.random(len(self.tied)), self.tied))
        return replace(self, rows=self.rows[order], is_target=self.is_target[order])

    @property
    def positions(self) -> int:
        """Number of input places in all windows."""
        return int(self.length.sum())


@dataclass(frozen=True)
class Batch:
    """Windows padded on the right with -1; all arrays are (windows, longest window)."""

    inputs: IntArray
    targets: IntArray
    gaps: IntArray
    """Bucket of the time since the place before; 0 at the first place and on padding."""


def without_repeats(log: InteractionLog) -> InteractionLog:
    """The log with runs of one item by one user reduced to the first: view, cart and purchase are one step."""
    users, items = log.user_rows, log.item_rows
    keep = np.ones(len(items), dtype=bool)
    keep[1:] = (items[1:] != items[:-1]) | (users[1:] != users[:-1])
    return log.select(keep)


def training_windows(log: InteractionLog, vocabulary_rows: LongArray, config: SequenceConfig) -> Windows:
    """Cut histories into windows of at most `max_length` inputs, from the latest interaction backwards.

    Args:
        log: Interactions without runs of repeats; every item is in the vocabulary.
        vocabulary_rows: Vocabulary row of each catalogue row, -1 for none.
        config: `max_length` and `targets` are read.
    """
    counts = np.diff(log.start)
    steps = np.maximum(counts - 1, 0)
    pieces = -(-steps // config.max_length)
    user = np.repeat(np.arange(len(counts)), pieces)
    piece = np.arange(len(user)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    end = log.start[user + 1] - 1 - piece * config.max_length
    begin = np.maximum(end - config.max_length, log.start[user])
    is_target = np.ones(len(log.item_rows), dtype=bool)
    if config.targets == "unseen":
        _, first = np.unique(pair_codes(log.user_rows, log.item_rows, log.item_count), return_index=True)
        is_target[:] = False
        is_target[first] = True
    is_tied = (log.event_ats[1:] == log.event_ats[:-1]) & (log.user_rows[1:] == log.user_rows[:-1])
    return Windows(
        rows=vocabulary_rows[log.item_rows].astype(np.int32),
        is_target=is_target,
        begin=begin,
        length=end - begin,
        gaps=gap_buckets(np.diff(log.event_ats, prepend=log.event_ats[:1])),
        tied=np.concatenate([[0], np.cumsum(~is_tied)]).astype(np.int64),
    )


def epoch_batches(windows: Windows, batch_tokens: int, rng: np.random.Generator) -> Iterator[Batch]:
    """All windows once in random batches of similar length and at most about `batch_tokens` places."""
    length = windows.length
    order = np.argsort(length + rng.random(len(length)) * np.maximum(1.0, LENGTH_JITTER * length))
    groups, begin = [], 0
    while begin < len(order):
        size = max(int(batch_tokens // max(length[order[begin]], 1)), 1)
        # Lengths grow along the order: shrink the group until its longest member fits the budget.
        while size > 1 and size * length[order[begin : begin + size]].max() > batch_tokens:
            size = max(int(batch_tokens // length[order[begin : begin + size]].max()), 1)
        groups.append(order[begin : begin + size])
        begin += size
    for group in rng.permutation(len(groups)):
        yield _padded(windows, groups[group])


def _padded(windows: Windows, chosen: LongArray) -> Batch:
    length = windows.length[chosen]
    offsets = np.arange(int(length.max()))[None, :]
    is_real = offsets < length[:, None]
    source = np.where(is_real, windows.begin[chosen][:, None] + offsets, 0)
    inputs = np.where(is_real, windows.rows[source], PADDING)
    following = np.where(is_real, source + 1, 0)
    targets = np.where(is_real & windows.is_target[following], windows.rows[following], PADDING)
    gaps = np.where(is_real & (offsets > 0), windows.gaps[source], FIRST)
    return Batch(inputs.astype(np.int32), targets.astype(np.int32), gaps.astype(np.int32))
