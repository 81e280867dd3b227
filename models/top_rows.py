"""The best items of each row of scores, without sorting all of them."""

import numpy as np

from models.interactions import PADDING, BoolArray, FloatArray, IntArray, LongArray

_SCORES_AT_ONCE = 262_144
"""Scores whose best are looked for at once: so many stay in the cache of a core."""
_GROUPS_FOR_EACH = 4
"""Groups of scores for each score that is looked for: with four, an eighth more than those wanted are found."""
_NO_KEY = np.iinfo(np.int64).max


def top_rows(scores: FloatArray, count: int, among: BoolArray | None = None) -> IntArray:
    """Item rows of the `count` highest scores of each row, best first; ties go to the lower item row.

    Args:
        scores: Shape (users, items); `-inf` stands for "not a candidate".
        count: How many; rows with fewer candidates end in padding.
        among: Which are candidates, shape (users, items), where `scores` does not say it; quickest where they are few.

    Returns:
        Shape (users, min(count, items)).
    """
    users, items = scores.shape
    count = min(count, items)
    if not count or not users:
        return np.full((users, count), PADDING, dtype=np.int32)
    best = np.empty((users, count), dtype=np.int32)
    rows_at_once = max(1, _SCORES_AT_ONCE // items)
    for begin in range(0, users, rows_at_once):
        some = slice(begin, begin + rows_at_once)
        best[some] = _top_of_block(scores[some], count, None if among is None else among[some])
    return best


def _top_of_block(scores: FloatArray, count: int, among: BoolArray | None) -> IntArray:
    """`top_rows` of a few rows, by sorting those scores only that reach each row's threshold."""
    users, items = scores.shape
    if among is None or among.sum(axis=1).max() > max(count, items // 4):
        own = scores if among is None else np.where(among, scores, np.float32(-np.inf))
        # Where a row has fewer candidates, its threshold is that of none.
        among = own >= np.maximum(_reached_by(own, count)[:, None], np.finfo(np.float32).min)
    places = np.flatnonzero(among)
    rows, columns = np.divmod(places, items)
    counts = np.bincount(rows, minlength=users)
    keys = np.full((users, max(int(counts.max()), count)), _NO_KEY)
    first = np.cumsum(counts) - counts
    keys[rows, np.arange(len(places)) - np.repeat(first, counts)] = _sort_keys(scores.ravel()[places], columns)
    keys.sort(axis=1)
    keys = keys[:, :count]
    return np.where(keys == _NO_KEY, PADDING, keys & np.int64(0xFFFFFFFF)).astype(np.int32)


def _reached_by(scores: FloatArray, count: int) -> FloatArray:
    """A score of each row that at least `count` of its scores reach, and hardly more, shape (users,).

    The scores of a row are dealt out to groups; of the best of each group, `count` reach the `count`-th highest. It is
    found in a tenth of the time that the `count`-th highest score itself would take.
    """
    users, items = scores.shape
    groups = _GROUPS_FOR_EACH * count
    size = items // groups
    if size > 1:
        scores = scores[:, : groups * size].reshape(users, size, groups).max(axis=1)
        items = groups
    return np.asarray(np.partition(scores, items - count, axis=1)[:, items - count])


def _sort_keys(scores: FloatArray, columns: LongArray) -> LongArray:
    """One whole number for each score that orders like (higher score, lower column) first."""
    bits = (np.asarray(scores, dtype=np.float32) + np.float32(0)).view(np.int32)
    ordered = ~(bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF)))
    return (ordered.astype(np.int64) << 32) | columns
