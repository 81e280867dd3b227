"""Contrastive losses over pairs of items that the same users chose."""

import numpy as np
import torch
from torch import nn

from models.engagement_pairs import DoubleArray, EngagementPairs
from models.interactions import BoolArray, LongArray


def contrastive_loss(
    vectors: torch.Tensor,
    queries: torch.Tensor,
    targets: torch.Tensor,
    is_excluded: torch.Tensor,
    log_shares: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """Mean of `-log softmax(cosine / temperature - log_shares)` at the target.

    Args:
        vectors: Unit vectors of the candidates, shape (candidates, dimension).
        queries: Candidate row of each query, shape (queries,).
        targets: Candidate row of each query's positive, shape (queries,).
        is_excluded: Candidates that are no negatives of a query, shape (queries, candidates); false at the target.
        log_shares: What is taken off each candidate's logit, shape (candidates,).
        temperature: Divides the cosines.
    """
    logits = vectors[queries] @ vectors.T / temperature - log_shares
    return nn.functional.cross_entropy(logits.masked_fill(is_excluded, float("-inf")), targets)


def excluded_candidates(
    pairs: EngagementPairs, chosen: LongArray, candidates: LongArray, queries: LongArray, targets: LongArray
) -> BoolArray:
    """False negatives: candidates that the pair's user chose, and the query itself; never the target.

    Args:
        pairs: All pairs.
        chosen: Pair of each query, shape (queries,).
        candidates: Distinct item rows, shape (candidates,).
        queries: Candidate row of each query.
        targets: Candidate row of each target.

    Returns:
        Mask of shape (queries, candidates).
    """
    place = np.full(len(pairs.categories), -1, dtype=np.int64)
    place[candidates] = np.arange(len(candidates))
    excluded = np.zeros((len(chosen), len(candidates)), dtype=bool)
    for row, pair in enumerate(chosen):
        own = place[pairs.items_of(int(pairs.users[pair]))]
        excluded[row, own[own >= 0]] = True
    rows = np.arange(len(chosen))
    excluded[rows, queries] = True
    excluded[rows, targets] = False
    return excluded


def pair_loss(
    pairs: EngagementPairs,
    chosen: LongArray,
    candidates: LongArray,
    vectors: torch.Tensor,
    log_shares: DoubleArray,
    temperature: float,
) -> torch.Tensor:
    """Contrastive loss in both directions: from the earlier item to the later one, and back.

    Args:
        pairs: All pairs.
        chosen: Those of this step.
        candidates: Distinct item rows, ascending, those of the chosen pairs among them.
        vectors: Their unit vectors, shape (candidates, dimension).
        log_shares: What is taken off each item's logit, shape (items,).
        temperature: Divides the cosines.
    """
    here, there = (
        np.searchsorted(candidates, pairs.anchors[chosen]),
        np.searchsorted(candidates, pairs.positives[chosen]),
    )
    shares = torch.from_numpy(log_shares[candidates]).float().to(vectors.device)
    losses = []
    for queries, targets in ((here, there), (there, here)):
        excluded = excluded_candidates(pairs, chosen, candidates, queries, targets)
        query, target, mask = (torch.from_numpy(part).to(vectors.device) for part in (queries, targets, excluded))
        losses.append(contrastive_loss(vectors, query, target, mask, shares, temperature))
    return torch.stack(losses).mean()


def draw_pairs(cumulative: DoubleArray, count: int, rng: np.random.Generator) -> LongArray:
    """Distinct places drawn in proportion to weights, at most `count`, ascending.

    Args:
        cumulative: Running sum of the weights.
        count: Number of draws; repeats are dropped.
        rng: Source of chance.
    """
    draws = rng.random(count) * cumulative[-1]
    places = np.minimum(np.searchsorted(cumulative, draws, side="right"), len(cumulative) - 1)
    return np.unique(places).astype(np.int64)
