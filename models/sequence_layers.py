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

    def forward(self, states: Tensor) -> Tensor:
        """Mix (batch, length, d) along the length, each place with itself and earlier ones only."""
        length = states.shape[1]
        low = self.low_pass[:length, :length].to(states.dtype) @ states
        return low + self.high_scale.square() * (states - low)


class CausalAttention(nn.Module):
    """Multi-head self-attention in which a place sees itself and earlier ones."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.attention_dropout
        self.inputs = nn.Linear(config.embedding_size, 3 * config.embedding_size)
        self.output = nn.Linear(config.embedding_size, config.embedding_size)

    def forward(self, states: Tensor) -> Tensor:
        """Attend over (batch, length, d); padding must be on the right, where no real place looks."""
        batch, length, size = states.shape
        projected = self.inputs(states).view(batch, length, 3, self.heads, size // self.heads)
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        attended = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        mixed_heads: Tensor = self.output(attended.transpose(1, 2).reshape(batch, length, size))
        return mixed_heads


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

    def forward(self, states: Tensor) -> Tensor:
        """Transform (batch, length, d)."""
        if self.is_pre:
            states = states + self.dropout(self._mix(self.attention_norm(states)))
            updated: Tensor = states + self.dropout(self.feedforward(self.feedforward_norm(states)))
            return updated
        mixed = torch.zeros_like(states)
        if self.attention is not None:
            attended = self.attention_norm(states + self.dropout(self.attention(states)))
            mixed = mixed + (1.0 - self.share) * attended
        if self.frequency is not None and self.frequency_norm is not None:
            mixed = mixed + self.share * self.frequency_norm(states + self.dropout(self.frequency(states)))
        transformed: Tensor = self.feedforward_norm(mixed + self.dropout(self.feedforward(mixed)))
        return transformed

    def _mix(self, states: Tensor) -> Tensor:
        mixed = torch.zeros_like(states)
        if self.attention is not None:
            mixed = mixed + (1.0 - self.share) * self.attention(states)
        if self.frequency is not None:
            mixed = mixed + self.share * self.frequency(states)
        return mixed
