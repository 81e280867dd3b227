"""Hyper-parameters of the two-tower model; torch-free, so that reading a configuration stays cheap."""

from dataclasses import dataclass

from models.encoder_config import LoopConfig
from models.errors import ConfigurationError


@dataclass(frozen=True)
class TwoTowerConfig:
    """Size of the towers and their training."""

    embedding_size: int = 64
    """Width of both towers' outputs."""
    hidden: int = 128
    """Width of each tower's hidden layer."""
    dropout: float = 0.2
    """On the text vectors and the hidden layers."""
    recency_decay: float = 1.0
    """A history item counts `exp(-age / decay)`, age by place from the end; 0: all alike."""
    history_length: int = 20
    """Latest interactions of a user that are read."""
    negatives: int = 16
    """Sampled items for each engaged one."""
    sampling_power: float = 0.5
    """Items are sampled in proportion to this power of their counts: 0 is uniform, 1 makes popularity worthless."""
    steps: int = 600
    """Optimiser steps."""
    batch_size: int = 256
    """Engaged items in a step."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    weight_decay: float = 0.01
    """Decoupled weight decay of AdamW."""
    held_out: int = 4000
    """Engaged items kept back for the held-out loss and the AUC, at most a tenth of all."""
    evaluate_every: int = 100
    """Steps between measurements of the held-out loss; the weights of the best one are kept."""
    checkpoint_every: int = 200
    """Steps between checkpoints; 0: none."""

    def __post_init__(self) -> None:
        for name in ("embedding_size", "hidden", "history_length", "negatives", "steps"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"two_tower.{name} is {getattr(self, name)}; it must be 1 or more")
        if not 0 <= self.dropout < 1:
            raise ConfigurationError(f"two_tower.dropout is {self.dropout}; it must be in [0, 1)")
        if self.recency_decay < 0 or not 0 <= self.sampling_power <= 1:
            raise ConfigurationError("two_tower.recency_decay must be 0 or more, sampling_power between 0 and 1")
        _ = self.loop  # its own limits

    @property
    def loop(self) -> LoopConfig:
        """What the training loop reads."""
        return LoopConfig(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            held_out=self.held_out,
            evaluate_every=self.evaluate_every,
            checkpoint_every=self.checkpoint_every,
        )
