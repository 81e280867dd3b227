"""Exploration: a small share of the places shows an item drawn at random, with its probability on record.

With the probabilities, what users do with the drawn items tells without bias how other lists would have fared
(inverse propensity scoring). The draw depends on the user, the moment and the place alone, so a list made again for
the same moment is the same, in either lane.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from models.errors import ConfigurationError
from models.interactions import PADDING, FloatArray, IntArray

DEPTH = 5
"""A place draws among every `top_k`-th of the first DEPTH * top_k candidates behind the list."""


def check(share: float) -> None:
    """Refuse a share outside 0..0.5."""
    if not 0 <= share <= 0.5:
        raise ConfigurationError(f"explore_share must be between 0 and 0.5, not {share}")


def draws(user_id: str, as_of: int, count: int) -> list[tuple[float, float]]:
    """Two numbers in [0, 1) for each place: whether it explores, and what it shows."""
    numbers = []
    for place in range(count):
        digest = hashlib.blake2b(f"{user_id}\x00{as_of}\x00{place}".encode(), digest_size=16).digest()
        first, second = (int.from_bytes(part, "big") / 2**64 for part in (digest[:8], digest[8:]))
        numbers.append((first, second))
    return numbers


def explore(
    order: IntArray, places: IntArray, is_fixed: Sequence[bool], share: float, numbers: Sequence[tuple[float, float]]
) -> tuple[IntArray, FloatArray]:
    """The list of one user with some places drawn.

    Every place that is not fixed shows its own item with probability 1 - share, else one of its own few candidates
    from behind the list, each with the same probability. The candidates of two places differ, so no item comes twice.

    Args:
        order: Columns of all candidates, best first.
        places: Columns of the list, shape (top_k,), padding at its end.
        is_fixed: Places that a rule has filled.
        share: Probability that a place explores.
        numbers: See `draws`.

    Returns:
        Columns of the list and the probability of each item at its place, 1 where nothing is drawn.
    """
    top_k = len(places)
    behind = order[~np.isin(order, places)][: DEPTH * top_k]
    shown, chances = places.copy(), np.ones(top_k, dtype=np.float32)
    for place in np.flatnonzero(places != PADDING).tolist():
        own = behind[place::top_k]
        if is_fixed[place] or not len(own) or share == 0:
            continue
        first, second = numbers[place]
        chances[place] = 1 - share
        if first < share:
            shown[place] = own[int(second * len(own))]
            chances[place] = share / len(own)
    return shown, chances
