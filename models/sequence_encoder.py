"""The sequence transformer: a causal network from a history of item vectors to user vectors.

It owns the item vectors too, since they are tied: what is read as input is what the output is compared with.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.sequence_config import SequenceConfig
from models.sequence_items import ItemVectors
from models.sequence_layers import INITIAL_DEVIATION, Block
from models.sequence_times import GAP_BUCKETS

__all__ = ["SequenceConfig", "SequenceEncoder"]


class SequenceEncoder(nn.Module):
    """Histories of item vectors to user vectors; it owns the item vectors too (`ItemVectors`)."""

    def __init__(self, config: SequenceConfig, items: ItemVectors) -> None:
        super().__init__()
        self.config, self.items = config, items
        size = config.embedding_size
        self.position = nn.Parameter(torch.randn(config.max_length, size) * INITIAL_DEVIATION)
        self.gaps = nn.Embedding(GAP_BUCKETS, size) if config.times == "gaps" else None
        if self.gaps is not None:
            nn.init.zeros_(self.gaps.weight)  # it begins as if it knew no times
        self.input_norm = nn.LayerNorm(size) if config.norm == "post" else nn.Identity()
        self.output_norm = nn.LayerNorm(size) if config.norm == "pre" else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.blocks))

    def forward(self, inputs: Tensor, gaps: Tensor | None = None, places: Tensor | None = None) -> Tensor:
        """User states after each place, or after one place of each row.

        Args:
            inputs: Item vectors, (batch, length, d), histories at the left and any padding at the right.
            gaps: Bucket of the time since the place before, (batch, length); read where the configuration says so.
            places: The place of each row after which the state is wanted, (batch,); the last block then works for
                these alone. None: all places.

        Returns:
            (batch, length, d), of length 1 where `places` are given; the state at a place depends on that place and
            earlier ones only.
        """
        states = inputs
        if self.config.positions == "absolute":
            states = states + self.position[: inputs.shape[1]]
        if self.gaps is not None and gaps is not None:
            states = states + self.gaps(gaps)
        states = self.dropout(self.input_norm(states))
        for number, layer in enumerate(self.layers, start=1):
            states = layer(states, places if number == len(self.layers) else None)
        states = self.output_norm(states)
        if self.config.logits == "cosine":
            states = functional.normalize(states, dim=-1) / self.config.temperature
        return torch.as_tensor(states)
