"""Softmax losses over many items, written for CPUs: few passes over memory, gradients made in the forward pass."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

SAFE_EXPONENT = 40.0
"""Below this bound on |logit| the exponentials of shifted logits neither overflow nor vanish in float32."""


class _FullSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, vectors: Tensor, targets: Tensor, chunk: int) -> Tensor:
        # One chunk of logits exists at a time and is turned into gradients at once, so memory stays at
        # chunk * items and nothing is recomputed.
        state_gradient, vector_gradient = torch.empty_like(states), torch.zeros_like(vectors)
        buffer = torch.empty(min(chunk, len(states)), len(vectors), device=states.device)
        largest = vectors.norm(dim=1).max()
        total = torch.zeros((), dtype=torch.float64, device=states.device)
        for begin in range(0, len(states), chunk):
            part, wanted = states[begin : begin + chunk], targets[begin : begin + chunk]
            logits = buffer[: len(part)]
            bound = part.norm(dim=1, keepdim=True) * largest
            if float(bound.max()) < SAFE_EXPONENT:
                torch.addmm(-bound, part, vectors.T, out=logits)
            else:
                torch.mm(part, vectors.T, out=logits)
                bound = logits.amax(dim=1, keepdim=True)
                logits.sub_(bound)
            of_target = logits.gather(1, wanted[:, None])
            mass = logits.exp_().sum(dim=1, keepdim=True)
            total += (mass.log() - of_target).sum()
            state_gradient[begin : begin + chunk] = (logits @ vectors).div_(mass).sub_(vectors[wanted])
            vector_gradient.addmm_(logits.T, part / mass)
            vector_gradient.index_add_(0, wanted, part, alpha=-1.0)
        ctx.save_for_backward(state_gradient, vector_gradient)
        ctx.rows = len(states)
        return (total / len(states)).float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        state_gradient, vector_gradient = ctx.saved_tensors
        scale = gradient / ctx.rows
        return state_gradient * scale, vector_gradient * scale, None, None


def full_softmax_loss(
    states: Tensor, vectors: Tensor, targets: Tensor, *, label_smoothing: float = 0.0, chunk: int = 1024
) -> Tensor:
    """Mean cross-entropy of the target among all items.

    Args:
        states: User states, (places, d).
        vectors: Item vectors, (items, d).
        targets: Item row of each place, (places,).
        label_smoothing: Share of the target's probability spread evenly over all items.
        chunk: Places whose logits exist at one time.

    Returns:
        A scalar, differentiable once in `states` and `vectors`.
    """
    loss: Tensor = _FullSoftmax.apply(states.contiguous(), vectors, targets, chunk)  # type: ignore[no-untyped-call]
    if label_smoothing:
        # Cross-entropy against (1 - e) * target + e * uniform differs by e * (logit of target - mean logit).
        difference = (states * (vectors[targets] - vectors.mean(dim=0))).sum(dim=1).mean()
        loss = loss + label_smoothing * difference
    return loss


class _SampledSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, vectors: Tensor, wanted: Tensor, hits: Tensor, log_expected: Tensor, chunk: int
    ) -> Tensor:
        state_gradient, wanted_gradient = torch.empty_like(states), torch.empty_like(wanted)
        vector_gradient = torch.zeros_like(vectors)
        buffer = torch.empty(min(chunk, len(states)), len(vectors), device=states.device)
        positive = (states * wanted).sum(dim=1, keepdim=True)
        total = torch.zeros((), dtype=torch.float64, device=states.device)
        for begin in range(0, len(states), chunk):
            part, of_target = states[begin : begin + chunk], positive[begin : begin + chunk]
            logits = torch.addmm(-log_expected, part, vectors.T, out=buffer[: len(part)])
            inside = hits[:, (hits[0] >= begin) & (hits[0] < begin + chunk)]
            logits[inside[0] - begin, inside[1]] = -torch.inf
            peak = torch.maximum(logits.amax(dim=1, keepdim=True), of_target)
            weight = (of_target - peak).exp()
            mass = logits.sub_(peak).exp_().sum(dim=1, keepdim=True) + weight
            total += (mass.log() + peak - of_target).sum()
            missing = 1.0 - weight / mass
            state_gradient[begin : begin + chunk] = (logits @ vectors) / mass - missing * wanted[begin : begin + chunk]
            wanted_gradient[begin : begin + chunk] = -missing * part
            vector_gradient.addmm_(logits.T, part / mass)
        ctx.save_for_backward(state_gradient, vector_gradient, wanted_gradient)
        ctx.rows = len(states)
        return (total / len(states)).float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        of_states, of_vectors, of_wanted = ctx.saved_tensors
        scale = gradient / ctx.rows
        return of_states * scale, of_vectors * scale, of_wanted * scale, None, None, None


def sampled_softmax_loss(
    states: Tensor,
    vectors: Tensor,
    target_vectors: Tensor,
    hits: Tensor,
    log_expected: Tensor,
    *,
    label_smoothing: float = 0.0,
    chunk: int = 512,
) -> Tensor:
    """Mean cross-entropy of the target among itself and negatives shared by the batch, with logQ correction.

    Subtracting the log of how often an item was expected among the negatives makes the sum over negatives an
    unbiased estimate of the sum over all items (Bengio & Senécal 2008).

    Args:
        states: User states, (places, d).
        vectors: Vectors of the negatives, (negatives, d).
        target_vectors: Vector of each place's target, (places, d).
        hits: Place and column of negatives that equal the place's target, (2, hits); they are left out.
        log_expected: Log of the expected count of each negative in the sample, (negatives,).
        label_smoothing: Share of the target's probability spread evenly over the negatives.
        chunk: Places whose logits exist at one time.

    Returns:
        A scalar, differentiable once in states and vectors.
    """
    inputs = (states.contiguous(), vectors, target_vectors, hits, log_expected, chunk)
    loss: Tensor = _SampledSoftmax.apply(*inputs)  # type: ignore[no-untyped-call]
    if label_smoothing:
        difference = (states * (target_vectors - vectors.mean(dim=0))).sum(dim=1).mean()
        loss = loss + label_smoothing * difference
    return loss


def popularity_rates(counts: Tensor, power: float = 0.75) -> Tensor:
    """Sampling rates of items proportional to a power of their counts (word2vec's 0.75), summing to 1."""
    return functional.normalize(counts.double().clamp(min=1.0).pow(power), p=1.0, dim=0)
