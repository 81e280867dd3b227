"""Interactions of the same second: whether the order in which the log gives them means anything.

Many sources know the day only. Where they shuffle a day, believing the order costs accuracy (on Amazon Beauty, random
ties: NDCG@10 .0623 believed, .0682 not, validation); where they keep it, ignoring it does (.0683 and .0638).
"""

from typing import Literal

import numpy as np

from models.interactions import PADDING, FloatArray, Histories, InteractionLog

Ties = Literal["ordered", "unordered", "auto"]
TIES: tuple[Ties, ...] = ("ordered", "unordered", "auto")
"""unordered: interactions of the same second share their mean age; auto: what `resolved_ties` finds in training."""

LEAST_AGREEMENT = 0.6
"""Chance gives 0.5: two users who took the same two items in the same second agree on their order half of the time."""
LEAST_COMPARISONS = 30
"""With fewer, nothing is known, and the log is believed."""


def resolved_ties(ties: Ties, log: InteractionLog) -> Ties:
    """`ties`, or for auto: ordered unless users disagree about the order of the same two neighbouring items."""
    if ties != "auto":
        return ties
    agreement, comparisons = tie_agreement(log)
    return "unordered" if comparisons >= LEAST_COMPARISONS and agreement < LEAST_AGREEMENT else "ordered"


def tie_agreement(log: InteractionLog) -> tuple[float, float]:
    """How often two users who took the same two items one after the other in one second did so in the same order.

    Returns:
        The share of agreeing pairs of users, 1 where there are none, and the number of pairs of users.
    """
    users, items = log.user_rows, log.item_rows.astype(np.int64)
    is_tied = (users[1:] == users[:-1]) & (log.event_ats[1:] == log.event_ats[:-1]) & (items[1:] != items[:-1])
    first, second = items[:-1][is_tied], items[1:][is_tied]
    codes = np.minimum(first, second) * max(log.item_count, 1) + np.maximum(first, second)
    _, pair = np.unique(codes, return_inverse=True)
    ascending = np.bincount(pair, weights=first < second).astype(np.float64)
    descending = np.bincount(pair).astype(np.float64) - ascending
    agreeing = float((ascending * (ascending - 1) + descending * (descending - 1)).sum() / 2)
    comparisons = agreeing + float((ascending * descending).sum())
    return (agreeing / comparisons if comparisons else 1.0), comparisons


def shared_ages(histories: Histories) -> FloatArray:
    """Mean place from the end of the interactions of each second, shape (users, length)."""
    users, length = histories.items.shape
    begins = np.ones((users, length), dtype=bool)
    begins[:, 1:] = histories.event_ats[:, 1:] != histories.event_ats[:, :-1]
    begins[:, 1:] |= (histories.items[:, 1:] == PADDING) != (histories.items[:, :-1] == PADDING)
    run = np.cumsum(begins.ravel()) - 1
    firsts = np.flatnonzero(begins)
    lasts = np.append(firsts[1:], begins.size) - 1
    ages = (length - 1) - (firsts % length + lasts % length) / 2
    return np.asarray(ages[run].reshape(users, length), dtype=np.float32)
