"""Fusion: scores of several retrievers on one scale, and the weights that rank best on the validation window."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.fusion_config import FusionConfig as FusionConfig
from models.interactions import PADDING, BoolArray, FloatArray, IntArray, LongArray
from models.splitting import Targets

DoubleArray = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
ROWS_PER_BLOCK = 512
DECIMALS = 4
"""Fused scores are rounded to so many decimals: differences below are noise of the arithmetic, so they are ties."""


@dataclass(frozen=True)
class ScoredCandidates:
    """Candidates of a batch of users and what each retriever says of them."""

    items: IntArray
    """Item rows, shape (users, candidates): ascending, padded with -1 on the right."""
    scores: FloatArray
    """Normalised scores, shape (retrievers, users, candidates); 0 on padding."""

    def fused(self, weights: FloatArray) -> FloatArray:
        """Weighted sum, shape (users, candidates); `-inf` on padding.

        Args:
            weights: Shape (retrievers,), or (retrievers, users) where users differ.
        """
        shape = (len(self.scores), len(self.items))
        by_user: FloatArray = np.broadcast_to(weights if weights.ndim == 2 else weights[:, None], shape)
        total: FloatArray = np.zeros(self.items.shape, dtype=np.float32)
        for own, scores in zip(by_user.astype(np.float32), self.scores, strict=True):
            if own.any():
                np.add(total, own[:, None] * scores, out=total)
        return self.rounded(total)

    def rounded(self, scores: FloatArray) -> FloatArray:
        """Scores as lists compare them: noise rounded away, `-inf` on padding."""
        rounded: FloatArray = np.round(scores, DECIMALS).astype(np.float32)
        rounded[self.items == PADDING] = -np.inf
        return rounded

    def narrowed(self, scores: FloatArray, count: int, keep: BoolArray | None = None) -> "ScoredCandidates":
        """Only the `count` best candidates of each user (ties to the lower item row), and those to be kept anyway.

        Args:
            scores: By which they are compared, shape (users, candidates).
            count: How many.
            keep: Candidates that stay whatever their score, shape (users, candidates).
        """
        if self.items.shape[1] <= count:
            return self
        order = np.argsort(-scores, axis=1, kind="stable")
        is_kept = np.zeros(self.items.shape, dtype=bool) if keep is None else keep.copy()
        np.put_along_axis(is_kept, order[:, :count], True, axis=1)
        is_kept &= self.items != PADDING
        columns = leading_columns(is_kept)
        is_real = np.take_along_axis(is_kept, columns, axis=1)
        return ScoredCandidates(
            np.where(is_real, np.take_along_axis(self.items, columns, axis=1), PADDING).astype(np.int32),
            np.where(is_real, np.take_along_axis(self.scores, columns[None], axis=2), np.float32(0)),
        )

    def of_users(self, users: LongArray) -> "ScoredCandidates":
        """The same candidates for some of the users, in the given order."""
        return ScoredCandidates(self.items[users], self.scores[:, users])

    def ranks(self) -> FloatArray:
        """Place of each candidate by each retriever, from 1; equal scores share the best place of theirs.

        Shape (retrievers, users, candidates); 0 on padding, and where a retriever tells no candidates apart.
        """
        is_candidate = self.items != PADDING
        values = np.where(is_candidate, self.scores, np.float32(-np.inf))
        order = np.argsort(-values, axis=2, kind="stable")
        ordered = np.take_along_axis(values, order, axis=2)
        places = np.broadcast_to(np.arange(values.shape[2], dtype=np.float32), values.shape)
        is_new = np.ones(values.shape, dtype=bool)
        is_new[:, :, 1:] = ordered[:, :, 1:] != ordered[:, :, :-1]
        first = np.maximum.accumulate(np.where(is_new, places, 0), axis=2)
        ranks = np.empty(values.shape, dtype=np.float32)
        np.put_along_axis(ranks, order, first + 1, axis=2)
        knows = self.scores.any(axis=2, keepdims=True)
        return np.where(is_candidate & knows, ranks, np.float32(0))


def leading_columns(is_kept: BoolArray) -> LongArray:
    """Columns of each user's kept candidates, in their order; others follow where a user has fewer than the most.

    Shape (users, most kept candidates of a user), at least one column.
    """
    width = max(int(is_kept.sum(axis=1).max(initial=0)), 1)
    return np.argsort(~is_kept, axis=1, kind="stable")[:, :width]


def normalise(scores: FloatArray, is_candidate: BoolArray, is_reference: BoolArray | None = None) -> FloatArray:
    """Z-score of each user's candidates: zero mean, unit deviation; all 0 where the scores do not differ.

    Sums run in float64, so that the padding of a batch does not change a user's result.

    Args:
        scores: Shape (users, candidates).
        is_candidate: Which are candidates, in the same shape; all others get 0.
        is_reference: Candidates that mean and deviation are those of; None: all.
    """
    reference = is_candidate if is_reference is None else is_reference
    values = np.where(is_candidate, scores, 0).astype(np.float64)
    known = np.where(reference, values, 0)
    counts = np.maximum(reference.sum(axis=1, keepdims=True), 1)
    mean = known.sum(axis=1, keepdims=True) / counts
    centred = np.where(reference, known - mean, 0)
    deviation = np.sqrt(np.square(centred).sum(axis=1, keepdims=True) / counts)
    differs = deviation > 1e-9 * np.maximum(np.abs(known).max(axis=1, keepdims=True, initial=0), 1e-9)
    if is_reference is not None:
        centred = np.where(is_candidate, values - mean, 0)
    unit = np.divide(centred, deviation, out=np.zeros_like(centred), where=differs)
    return np.asarray(unit, dtype=np.float32)


def target_places(items: IntArray, targets: Targets) -> LongArray:
    """Column of each target among its user's candidates, -1 where it is none; shape (targets,)."""
    places = np.full(len(targets.item_rows), -1, dtype=np.int64)
    rows = targets.rows
    for begin in range(0, len(rows), ROWS_PER_BLOCK):
        part = slice(begin, begin + ROWS_PER_BLOCK)
        matches = items[rows[part]] == targets.item_rows[part, None]
        places[part] = np.where(matches.any(axis=1), matches.argmax(axis=1), -1)
    return places


def mean_ndcg(fused: FloatArray, places: LongArray, targets: Targets, *, k: int) -> float:
    """Mean NDCG at `k` over the users; a target that is no candidate counts as missed.

    Ties go to the lower item row, as in the final lists. 0 when there are no users.
    """
    return float(ndcg_by_user(fused, places, targets, k=k).mean()) if targets.count else 0.0


def ndcg_by_user(fused: FloatArray, places: LongArray, targets: Targets, *, k: int) -> DoubleArray:
    """NDCG at `k` of each user, shape (users,); 0 for a user without targets."""
    rows, gains = targets.rows, np.zeros(len(places))
    for begin in range(0, len(rows), ROWS_PER_BLOCK):
        part = slice(begin, begin + ROWS_PER_BLOCK)
        own = fused[rows[part]]
        place = places[part, None]
        value = np.take_along_axis(own, np.maximum(place, 0), axis=1)
        ahead = (own > value).sum(axis=1) + ((own == value) & (np.arange(own.shape[1]) < place)).sum(axis=1)
        gains[part] = np.where((place[:, 0] >= 0) & (ahead < k), 1 / np.log2(ahead + 2), 0)
    ideal = np.cumsum(1 / np.log2(np.arange(k) + 2))
    lengths = targets.lengths
    reached = np.bincount(rows, weights=gains, minlength=targets.count)
    return np.where(lengths > 0, reached / ideal[np.clip(lengths, 1, k) - 1], 0)


def fit_weights(
    candidates: ScoredCandidates, targets: Targets, config: FusionConfig, *, seed: int
) -> tuple[FloatArray, float]:
    """Weights (≥ 0, sum 1) with the highest mean NDCG at `k`, by a seeded search.

    Tries each retriever alone, all alike, random points of the simplex, then scales one weight at a time. So the
    answer is never worse on these users than the best single retriever.

    Returns:
        Weights, shape (retrievers,), and their NDCG. All alike when there are no users.
    """
    count = len(candidates.scores)
    even = np.full(count, 1 / count)
    if not targets.count or count == 1:
        return even.astype(np.float32), 0.0
    places = target_places(candidates.items, targets)

    def quality(weights: FloatArray) -> float:
        return mean_ndcg(candidates.fused(weights), places, targets, k=config.k)

    rng = np.random.default_rng(seed)
    random_points = rng.dirichlet(np.ones(count), max(config.evaluations // 3 - count - 1, 0))
    starts = [*np.eye(count), even, *random_points]
    search = _Search(quality, config.evaluations)
    for weights in starts:
        search.try_weights(weights)
    for scale in (2.0, 1.4, 1.15):
        search.climb(scale, rng)
    return search.best.astype(np.float32), search.best_quality


class _Search:
    """Hill climbing that remembers the best weights and stops when its evaluations are spent."""

    def __init__(self, quality: Callable[[FloatArray], float], evaluations: int) -> None:
        self._quality = quality
        self._left = evaluations
        self.best: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = np.zeros(0)
        self.best_quality = -1.0

    def try_weights(self, weights: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> bool:
        """Whether `weights` beat the best so far."""
        if self._left <= 0 or weights.sum() <= 0:
            return False
        self._left -= 1
        scaled = weights / weights.sum()
        quality = self._quality(scaled.astype(np.float32))
        if quality <= self.best_quality:
            return False
        self.best, self.best_quality = scaled, quality
        return True

    def climb(self, scale: float, rng: np.random.Generator) -> None:
        """Scale one weight after the other, up or down, until nothing helps."""
        improved = True
        while improved and self._left > 0:
            improved = False
            for place in rng.permutation(len(self.best)):
                for change in (scale, 1 / scale):
                    trial = self.best.copy()
                    trial[place] = max(trial[place], 0.02) * change
                    improved |= self.try_weights(trial)
                dropped = self.best.copy()
                dropped[place] = 0
                improved |= self.best[place] > 0 and self.try_weights(dropped)
