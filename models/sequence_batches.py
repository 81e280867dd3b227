"""Histories as training windows and length-bucketed batches: little padding, every position a target."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from models.interactions import PADDING, BoolArray, IntArray, InteractionLog, LongArray
from models.sequence_encoder import SequenceConfig
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

    @property
    def positions(self) -> int:
        """Number of input places in all windows."""
        return int(self.length.sum())


@dataclass(frozen=True)
class Batch:
    """Windows padded on the right with -1; both arrays are (windows, longest window)."""

    inputs: IntArray
    targets: IntArray


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
    return Windows(vocabulary_rows[log.item_rows].astype(np.int32), is_target, begin, end - begin)


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
    return Batch(inputs.astype(np.int32), targets.astype(np.int32))
