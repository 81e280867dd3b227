"""Hyper-parameters of the generative retriever; torch-free, so that reading a configuration stays cheap."""

from dataclasses import dataclass

from models.encoder_config import LoopConfig
from models.errors import ConfigurationError
from models.semantic_ids_config import SemanticIdConfig


@dataclass(frozen=True)
class GenerativeConfig:
    """Size of the decoder and of its IDs, its training, and its search."""

    levels: int = 3
    """Codes of an item's ID, from coarse to fine; its running number comes on top."""
    codes: int = 256
    """Centres of each level, a power of two; a small catalogue gets fewer."""
    most_collisions: int = 256
    """Items that may share all their codes; those beyond are never generated."""
    embedding_size: int = 96
    """Width of the decoder; `heads` must divide it."""
    layers: int = 2
    """Transformer layers."""
    heads: int = 4
    """Attention heads."""
    dropout: float = 0.2
    """On embeddings, residual branches and attention weights."""
    history_items: int = 20
    """Latest items of a history that are read; longer ones are cut, in training into several windows."""
    code_initial: bool = True
    """Start the vectors of the codes at their centres (projected), so that close codes begin close."""
    steps: int = 1500
    """Optimiser steps."""
    batch_size: int = 64
    """Histories in a step."""
    learning_rate: float = 3e-3
    """Peak learning rate of AdamW."""
    weight_decay: float = 0.01
    """Decoupled weight decay of AdamW."""
    held_out: int = 1000
    """Histories kept back for the held-out loss, at most a tenth of all."""
    evaluate_every: int = 250
    """Steps between measurements of the held-out loss; the weights of the best one are kept."""
    checkpoint_every: int = 250
    """Steps between checkpoints; 0: none."""
    beams: int = 50
    """Items that the search returns for a user, which is also its width."""

    def __post_init__(self) -> None:
        for name in ("embedding_size", "layers", "heads", "history_items", "steps", "beams"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"generative.{name} is {getattr(self, name)}; it must be 1 or more")
        if self.embedding_size % self.heads:
            raise ConfigurationError(f"generative.heads {self.heads} must divide embedding_size {self.embedding_size}")
        if not 0 <= self.dropout < 1:
            raise ConfigurationError(f"generative.dropout is {self.dropout}; it must be in [0, 1)")
        _ = self.semantic_ids, self.loop  # their own limits

    @property
    def semantic_ids(self) -> SemanticIdConfig:
        """Code space of the item IDs."""
        return SemanticIdConfig(self.levels, self.codes, self.most_collisions)

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
