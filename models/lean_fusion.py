"""A fusion without retrievers that cost time and add next to nothing.

A search for the best weights leaves small ones to retrievers whose say is noise, and each of them is asked for every
list (`RecommenderConfig.silent_at_zero`).
"""

import numpy as np

from models.fusion import ScoredCandidates, mean_ndcg, target_places
from models.interactions import FloatArray
from models.splitting import Targets


def without_idle(
    weights: FloatArray, candidates: ScoredCandidates, targets: Targets, *, least_gain: float, k: int
) -> FloatArray:
    """Weights after backward elimination: the retriever that adds least goes first, until each adds enough.

    Args:
        weights: Of the retrievers, shape (retrievers,), adding up to 1.
        candidates: What all retrievers say to the users.
        targets: What they took, aligned with `candidates`.
        least_gain: Mean NDCG at `k` that a retriever must add to those that are left.
        k: Length of the lists.

    Returns:
        Weights that add up to 1; one at least is above 0.
    """
    places = target_places(candidates.items, targets)

    def quality(tried: FloatArray) -> float:
        return mean_ndcg(candidates.fused(tried), places, targets, k=k)

    kept, best = weights, quality(weights)
    while np.count_nonzero(kept) > 1:
        trials = [_without(kept, place) for place in np.flatnonzero(kept).tolist()]
        qualities = [quality(trial) for trial in trials]
        place = int(np.argmax(qualities))
        if best - qualities[place] >= least_gain:
            break
        kept, best = trials[place], qualities[place]
    return kept


def _without(weights: FloatArray, place: int) -> FloatArray:
    others = weights.copy()
    others[place] = 0
    return np.asarray(others / others.sum(), dtype=np.float32)
