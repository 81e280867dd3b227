"""Orders that trade relevance for variety: MMR, DPP and calibrated categories. Each works on one user's best items.

Relevance is the fused score scaled to 0..1 over the pool, so that one weight means the same for every user.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.errors import ConfigurationError
from models.interactions import FloatArray, IntArray

Diversity = Literal["none", "mmr", "dpp", "calibrated"]
DIVERSITIES: tuple[Diversity, ...] = ("none", "mmr", "dpp", "calibrated")
POOL = 60
"""Best candidates whose order may change."""
SMOOTHING = 0.01
"""Share of the history's categories mixed into those of the list, so that none has probability 0 (Steck 2018)."""

DoubleArray = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True)
class Pool:
    """The best candidates of one user, best first."""

    scores: FloatArray
    """Shape (items,), never rising."""
    vectors: FloatArray
    """Of unit length, or zero where nothing is known; shape (items, dimension)."""
    categories: IntArray
    """Codes, -1 where unknown; shape (items,)."""
    history: IntArray
    """Category codes of the user's history, without unknown ones."""


def reorder(pool: Pool, method: Diversity, weight: float, count: int) -> IntArray:
    """Places of the pool in their new order: `count` chosen ones, then the others as they were.

    Args:
        pool: The user's best candidates.
        method: Which trade.
        weight: From 0 (the order stands) to 1 (relevance hardly counts).
        count: Places to choose.

    Raises:
        ConfigurationError: the method is unknown, or the weight is out of range.
    """
    check(method, weight)
    size = len(pool.scores)
    if method == "none" or weight == 0 or size < 2:
        return np.arange(size, dtype=np.int32)
    choose = {"mmr": _mmr, "dpp": _dpp, "calibrated": _calibrated}[method]
    chosen = choose(pool, weight, min(count, size))
    others = np.setdiff1d(np.arange(size), chosen)
    return np.concatenate([chosen, others]).astype(np.int32)


def check(method: str, weight: float) -> None:
    """Refuse an unknown method or a weight outside 0..1."""
    if method not in DIVERSITIES:
        raise ConfigurationError(f"diversity must be one of {', '.join(DIVERSITIES)}, not {method!r}")
    if not 0 <= weight <= 1:
        raise ConfigurationError(f"diversity_weight must be between 0 and 1, not {weight}")


def _mmr(pool: Pool, weight: float, count: int) -> list[int]:
    """Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998): relevance less likeness to what is chosen."""
    relevance, likeness = _relevance(pool), _likeness(pool)
    nearest = np.zeros(len(relevance))
    free = np.ones(len(relevance), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < count:
        value = np.where(free, (1 - weight) * relevance - weight * nearest, -np.inf)
        best = int(value.argmax())
        chosen.append(best)
        free[best] = False
        nearest = np.maximum(nearest, likeness[best])
    return chosen


def _dpp(pool: Pool, weight: float, count: int) -> list[int]:
    """Fast greedy MAP of a determinantal point process (Chen, Zhang and Zhou, NeurIPS 2018).

    The kernel is q_i S_ij q_j with q = exp(a * relevance), a = (1 - weight) / (2 * weight). Where the rank of the
    kernel is used up, the most relevant of the rest follow.
    """
    quality = np.exp((1 - weight) / (2 * weight) * (_relevance(pool) - 1))
    # A little of the identity keeps the kernel positive definite where two texts are the same.
    kernel = quality[:, None] * (0.999 * _likeness(pool) + 0.001 * np.eye(len(quality))) * quality[None, :]
    gains = kernel.diagonal().copy()
    rows = np.zeros((count, len(quality)))
    chosen: list[int] = []
    while len(chosen) < count:
        best = int(gains.argmax())
        if gains[best] <= 1e-12:
            free = np.setdiff1d(np.arange(len(quality)), chosen)
            return [*chosen, *free[: count - len(chosen)].tolist()]
        done = len(chosen)
        row = (kernel[best] - rows[:done, best] @ rows[:done]) / np.sqrt(gains[best])
        rows[done] = row
        gains = gains - row**2
        chosen.append(best)
        gains[chosen] = -np.inf
    return chosen


def _calibrated(pool: Pool, weight: float, count: int) -> list[int]:
    """Calibrated categories (Steck, RecSys 2018): relevance less the divergence KL(history || list) of categories."""
    relevance = _relevance(pool)
    codes, places = np.unique(np.concatenate([pool.history, pool.categories]), return_inverse=True)
    history, own = places[: len(pool.history)], places[len(pool.history) :]
    if not len(history):
        return list(range(count))
    wanted = np.bincount(history, minlength=len(codes)) / len(history)
    is_known = pool.categories >= 0
    taken = np.zeros(len(codes))
    free = np.ones(len(relevance), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < count:
        after = np.tile(taken, (len(codes) + 1, 1))
        after[np.arange(len(codes)), np.arange(len(codes))] += 1
        shares = after / np.maximum(after.sum(axis=1, keepdims=True), 1)
        mixed = (1 - SMOOTHING) * shares + SMOOTHING * wanted
        divergence = np.where(wanted > 0, wanted * np.log(np.maximum(wanted, 1e-12) / np.maximum(mixed, 1e-12)), 0)
        cost = divergence.sum(axis=1)
        value = (1 - weight) * relevance - weight * np.where(is_known, cost[own], cost[-1])
        best = int(np.where(free, value, -np.inf).argmax())
        chosen.append(best)
        free[best] = False
        taken[own[best]] += is_known[best]
    return chosen


def _relevance(pool: Pool) -> DoubleArray:
    scores = pool.scores.astype(np.float64)
    spread = scores[0] - scores[-1]
    return (scores - scores[-1]) / spread if spread > 0 else np.zeros(len(scores))


def _likeness(pool: Pool) -> DoubleArray:
    """Cosine of the vectors, negative ones as 0; an item is like itself."""
    vectors = pool.vectors.astype(np.float64)
    likeness = np.maximum(vectors @ vectors.T, 0)
    np.fill_diagonal(likeness, 1)
    return likeness
