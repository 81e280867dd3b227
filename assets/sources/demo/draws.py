"""Seeded draws that do not change when a market grows.

Every attribute has its own stream, and streams are read in order of the index, so the first n values are the same
however many follow. Every day has its own stream as well.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_STREAMS: Final = ("catalogue", "population", "behaviour", "bots", "dirt")
_SCRAMBLE_BITS: Final = 30
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def stream(seed: int, name: str, *key: int) -> np.random.Generator:
    """Generator of the stream `name` with a further key such as the day."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAMS.index(name), *key)))


def uniform(seed: int, name: str, attribute: int, count: int) -> FloatArray:
    """`count` uniform values of one attribute; a prefix of the values for any larger count."""
    return stream(seed, name, attribute).random(count)


def whole(values: FloatArray, bound: int | IntArray) -> IntArray:
    """Turn uniform values into whole numbers in 0…bound - 1."""
    result: IntArray = (values * bound).astype(np.int64)
    return result


def count_by_day(total: int, late_share: float, day: int, reference_days: int) -> int:
    """How many of a growing set exist on `day`: all `total` on the last reference day, and on at that pace."""
    late = round(total * late_share)
    return total - late + day * late // (reference_days - 1)


def arrival_days(count: int, total: int, late_share: float, reference_days: int) -> IntArray:
    """Day on which each of the first `count` members arrives; agrees with `count_by_day`."""
    late = round(total * late_share)
    rank = np.arange(count) - (total - late) + 1
    days = -(-np.maximum(rank, 0) * (reference_days - 1) // max(late, 1))
    return np.where(rank > 0, days, 0)


def public_ids(prefix: str, count: int, salt: int) -> NDArray[Any]:
    """Ids that do not betray the order of creation: a bijection on 30 bits, in base 32.

    Args:
        prefix: put in front of the six characters.
        count: how many ids, at most 2 ** 30.
        salt: makes the ids of two kinds or seeds differ.
    """
    size = 1 << _SCRAMBLE_BITS
    numbers = (np.arange(count, dtype=np.int64) * 0x2545F491 % size + salt * 0x9E3779B % size) % size
    digits = [_ALPHABET[d] for d in range(32)]
    columns = [np.array(digits, dtype=object)[(numbers >> shift) & 31] for shift in range(25, -1, -5)]
    result = np.full(count, prefix, dtype=object)
    for column in columns:
        result = result + column
    return result
