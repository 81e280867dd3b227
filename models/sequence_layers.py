"""Building blocks of the sequence transformer: causal attention, the causal frequency layer, and their block.

The frequency layer follows BSARec (arXiv:2312.10325). The original filters a whole padded sequence with an FFT, which
lets earlier places see later items; the same low-pass filter written as a convolution over the past is causal, so
that one pass trains on every place.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.sequence_config import SequenceConfig

INITIAL_DEVIATION = 0.02
"""Standard deviation of new embeddings."""


def low_pass_matrix(length: int, window: int, cutoff: int) -> Tensor:
    """The causal low-pass filter as a lower-triangular matrix, shape (length, length).

    Row `t` holds what BSARec's inverse FFT of the first `cutoff // 2 + 1` components gives at the last place of a
    window that ends at `t` and is zero before the history:
    `h[lag] = (1 + 2 * sum_k cos(2 pi k lag / window)) / window`.
    """
    lags = torch.arange(length, dtype=torch.float64)
    kernel = torch.ones_like(lags)
    for component in range(1, min(cutoff // 2, (window - 1) // 2) + 1):
        kernel += 2.0 * torch.cos(2.0 * math.pi * component * lags / window)
    lag = torch.arange(length)[:, None] - torch.arange(length)[None, :]
    weights = kernel[lag.clamp(min=0)] / window
    return torch.where(lag >= 0, weights, 0.0).float()


class FrequencyMixer(nn.Module):
    """Low frequencies of the past plus the rest scaled by a learned factor per channel."""

    low_pass: Tensor

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        self.high_scale = nn.Parameter(torch.randn(config.embedding_size))
        matrix = low_pass_matrix(config.max_length, config.max_length, config.frequency_cutoff)
        self.register_buffer("low_pass", matrix, persistent=False)

    def forward(self, states: Tensor, places: Tensor | None = None) -> Tensor:
        """Mix (batch, length, d) along the length, each place with itself and earlier ones only.

        Args:
            states: Padded on the right.
            places: Of each row the one place that is wanted, (batch,); None: all of them.
        """
        length = states.shape[1]
        filters = self.low_pass[:length] if places is None else self.low_pass[places][:, None]
        low = filters[..., :length].to(states.dtype) @ states
        return low + self.high_scale.square() * (at_places(states, places) - low)


class CausalAttention(nn.Module):
    """Multi-head self-attention in which a place sees itself and earlier ones."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.attention_dropout
        self.inputs = nn.Linear(config.embedding_size, 3 * config.embedding_size)
        self.output = nn.Linear(config.embedding_size, config.embedding_size)

    def forward(self, states: Tensor, places: Tensor | None = None) -> Tensor:
        """Attend over (batch, length, d); padding must be on the right, where no real place looks.

        Args:
            states: Padded on the right.
            places: Of each row the one place that attends, (batch,); None: all of them.
        """
        if places is None:
            query, key, value = self._heads(self.inputs(states), 3)
            dropout = self.dropout if self.training else 0.0
            attended = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        else:
            attended = self._attend_at(states, places)
        mixed_heads: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return mixed_heads

    def _attend_at(self, states: Tensor, places: Tensor) -> Tensor:
        """Attended values of one place of each row, (batch, heads, 1, d / heads).

        Not fused: with one query, the bits of the fused kernel follow from the row's place in the batch.
        """
        size = states.shape[2]
        weight, bias = self.inputs.weight, self.inputs.bias
        (query,) = self._heads(functional.linear(at_places(states, places), weight[:size], bias[:size]), 1)
        key, value = self._heads(functional.linear(states, weight[size:], bias[size:]), 2)
        scores = query @ key.transpose(2, 3) / math.sqrt(size // self.heads)
        is_seen = torch.arange(states.shape[1], device=states.device) <= places[:, None]
        shares = torch.softmax(scores.masked_fill(~is_seen[:, None, None], -torch.inf), dim=3)
        attended: Tensor = functional.dropout(shares, self.dropout, self.training) @ value
        return attended

    def _heads(self, projected: Tensor, parts: int) -> Tensor:
        """(batch, length, parts * d) as (parts, batch, heads, length, d / heads)."""
        batch, length, size = projected.shape
        return projected.view(batch, length, parts, self.heads, size // parts // self.heads).permute(2, 0, 3, 1, 4)


class Block(nn.Module):
    """One transformer block: attention mixed with the frequency layer, then a feed-forward layer."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        size, self.share, self.is_pre = config.embedding_size, config.frequency_share, config.norm == "pre"
        self.attention = CausalAttention(config) if self.share < 1.0 else None
        self.frequency = FrequencyMixer(config) if self.share > 0.0 else None
        self.attention_norm = nn.LayerNorm(size)
        self.frequency_norm = nn.LayerNorm(size) if self.frequency is not None and not self.is_pre else None
        self.feedforward_norm = nn.LayerNorm(size)
        self.dropout = nn.Dropout(config.dropout)
        self.feedforward = nn.Sequential(
            nn.Linear(size, config.feedforward_multiple * size),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.feedforward_multiple * size, size),
        )

    def forward(self, states: Tensor, places: Tensor | None = None) -> Tensor:
        """Transform (batch, length, d).

        Args:
            states: Padded on the right.
            places: Of each row the one place that is wanted, (batch,), then the length of the result is 1; None: all.
        """
        own = at_places(states, places)
        if self.is_pre:
            own = own + self.dropout(self._mix(self.attention_norm(states), places))
            updated: Tensor = own + self.dropout(self.feedforward(self.feedforward_norm(own)))
            return updated
        mixed = torch.zeros_like(own)
        if self.attention is not None:
            attended = self.attention_norm(own + self.dropout(self.attention(states, places)))
            mixed = mixed + (1.0 - self.share) * attended
        if self.frequency is not None and self.frequency_norm is not None:
            mixed = mixed + self.share * self.frequency_norm(own + self.dropout(self.frequency(states, places)))
        transformed: Tensor = self.feedforward_norm(mixed + self.dropout(self.feedforward(mixed)))
        return transformed

    def _mix(self, states: Tensor, places: Tensor | None) -> Tensor:
        mixed = torch.zeros_like(at_places(states, places))
        if self.attention is not None:
            mixed = mixed + (1.0 - self.share) * self.attention(states, places)
        if self.frequency is not None:
            mixed = mixed + self.share * self.frequency(states, places)
        return mixed


def at_places(states: Tensor, places: Tensor | None) -> Tensor:
    """Of (batch, length, d) the state at one place of each row, (batch, 1, d); all of them where `places` is None."""
    if places is None:
        return states
    return states[torch.arange(len(states), device=states.device), places][:, None]
