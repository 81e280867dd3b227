"""Time between neighbouring interactions as buckets that the sequence transformer can learn a vector for."""

import numpy as np

from models.interactions import IntArray, LongArray

FIRST = 0
"""Bucket of a place that has none before it."""
GAP_BUCKETS = 20
"""The last one begins at 2^18 hours, thirty years."""


def gap_buckets(seconds: LongArray) -> IntArray:
    """Bucket of each gap, from 1: under an hour, then one for each doubling of the hours.

    Args:
        seconds: Time since the interaction before, any shape; negative ones, between two users, count as none.
    """
    hours = np.maximum(seconds, 0) / 3600
    return np.asarray(np.minimum(1 + np.log2(1 + hours), GAP_BUCKETS - 1), dtype=np.int32)
