"""Hyper-parameters of the two language model stages; logged whole to the registry and saved with the weights."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from models.errors import ConfigurationError


@dataclass(frozen=True)
class LoopConfig:
    """What every training loop needs. Budgets are steps, never seconds: the same input gives the same weights."""

    steps: int = 60
    """Optimiser steps; 0 leaves the encoder as it came."""
    batch_size: int = 32
    """Texts (pretraining) or pairs (fine-tuning) in a step."""
    max_tokens: int = 48
    """Longer texts are cut."""
    learning_rate: float = 5e-5
    """Peak learning rate of the encoder."""
    warmup_share: float = 0.1
    """Share of the steps over which the learning rate rises linearly; it then falls linearly to zero."""
    weight_decay: float = 0.01
    """Decoupled weight decay (AdamW)."""
    clip_norm: float = 1.0
    """Largest norm of the gradient of a step."""
    evaluate_every: int = 20
    """Steps between measurements of the held-out loss."""
    patience: int = 5
    """Measurements without a new best held-out loss before the run stops; the best weights are kept."""
    held_out: int = 256
    """Largest number of texts or pairs kept back for the held-out loss; never more than a tenth of all."""
    checkpoint_every: int = 50
    """Steps between checkpoints; 0: none."""
    frozen_layers: int = 0
    """Embeddings and this many lowest layers stay as they are: cheaper steps, less forgetting. 0: all train."""
    lora_rank: int = 0
    """Rank of LoRA adapters, which then train instead of the encoder's own weights; 0: full training."""
    lora_alpha: int = 32
    """Scale of the adapters (peft's `lora_alpha`)."""
    lora_dropout: float = 0.05
    """Dropout before the adapters."""

    def __post_init__(self) -> None:
        self._need(self.steps >= 0, "steps", "must be 0 or more")
        self._need(self.batch_size >= 2, "batch_size", "must be 2 or more")
        self._need(8 <= self.max_tokens <= 8192, "max_tokens", "must be between 8 and 8192")
        self._need(0 < self.learning_rate < 1, "learning_rate", "must be between 0 and 1")
        self._need(0 <= self.warmup_share < 1, "warmup_share", "must be at least 0 and below 1")
        self._need(self.weight_decay >= 0, "weight_decay", "must be 0 or more")
        self._need(self.clip_norm > 0, "clip_norm", "must be above 0")
        self._need(self.evaluate_every > 0, "evaluate_every", "must be 1 or more")
        self._need(self.patience > 0, "patience", "must be 1 or more")
        self._need(self.held_out >= 0, "held_out", "must be 0 or more")
        self._need(self.checkpoint_every >= 0, "checkpoint_every", "must be 0 or more")
        self._need(self.frozen_layers >= 0, "frozen_layers", "must be 0 or more")
        self._need(self.lora_rank >= 0, "lora_rank", "must be 0 or more")
        self._need(0 <= self.lora_dropout < 1, "lora_dropout", "must be at least 0 and below 1")
        both = self.lora_rank > 0 and self.frozen_layers > 0
        self._need(not both, "lora_rank", "and frozen_layers exclude each other; set one of them to 0")

    def _need(self, holds: bool, key: str, rule: str) -> None:
        if not holds:
            raise ConfigurationError(f"{type(self).__name__}.{key} = {getattr(self, key)!r}: {rule}")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Build from a table of a domain file; what it leaves out has the default.

        Raises:
            ConfigurationError: a key is unknown or a value out of range.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigurationError(f"{cls.__name__} has no key {unknown[0]!r}; it knows {', '.join(sorted(known))}")
        return cls(**values)


@dataclass(frozen=True)
class PretrainingConfig(LoopConfig):
    """Domain-adaptive pretraining: masked tokens (decoders: the next token), beside them the match of item texts."""

    steps: int = 45
    """Optimiser steps, those of the head alone included; 0 leaves the encoder as it came."""
    learning_rate: float = 5e-5
    """Peak learning rate of the encoder."""
    head_steps: int = 30
    """First steps, in which only a freshly made prediction head trains while the encoder is frozen."""
    head_learning_rate: float = 1e-3
    """Peak learning rate of the prediction head, which is thrown away afterwards."""
    mask_share: float = 0.15
    """Share of tokens to predict: 80 % of them masked, 10 % replaced by a random token, 10 % left."""
    mask_weight: float = 0.1
    """Weight of the token loss once the second objective works beside it."""
    align_weight: float = 0.0
    """Weight of the second objective, which matches the texts of items chosen after each other; 0: tokens alone."""
    align_pairs: int = 32
    """Pairs in a step of the second objective."""
    align_temperature: float = 0.05
    """Divides the cosine before the softmax."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need(self.head_steps >= 0, "head_steps", "must be 0 or more")
        self._need(0 < self.head_learning_rate < 1, "head_learning_rate", "must be between 0 and 1")
        self._need(0 < self.mask_share < 1, "mask_share", "must be between 0 and 1")
        self._need(self.mask_weight >= 0, "mask_weight", "must be 0 or more")
        self._need(self.align_weight >= 0, "align_weight", "must be 0 or more")
        self._need(self.align_pairs >= 2, "align_pairs", "must be 2 or more")
        self._need(self.align_temperature > 0, "align_temperature", "must be above 0")


@dataclass(frozen=True)
class FinetuningConfig(LoopConfig):
    """Contrastive fine-tuning on pairs of items that the same user chose."""

    steps: int = 40
    """Optimiser steps; 0 leaves the encoder as it came."""
    learning_rate: float = 1e-4
    """Peak learning rate of the encoder."""
    window: int = 3
    """A pair joins an item with one at most this many interactions later; 1: next items only."""
    temperature: float = 0.05
    """Divides the cosine before the softmax."""
    popularity_correction: float = 1.0
    """Share of log sampling frequency that is taken off the logits: 1 is the full correction, 0 none."""
    hard_negatives: int = 16
    """Extra candidates of a step, drawn from the categories of its positives."""
    pairs_per_user: int = 50
    """At most this many pairs of one user, drawn at random, so that heavy users do not dominate."""
    field_dropout: float = 0.0
    """Chance of each field of a text behind its title to be left out of a training step; 0: none is."""
    word_dropout: float = 0.0
    """Chance of each word of a text to be left out of a training step; 0: none is."""
    category_weight: float = 0.0
    """Weight of predicting the category of the next item beside the item itself; 0: not predicted."""
    event_type_weight: float = 0.0
    """Weight of predicting the type of the event that chose the next item; 0: not predicted."""
    task_learning_rate: float = 1e-3
    """Peak learning rate of the heads of both, which are thrown away afterwards."""
    continue_rounds: int = 0
    """Trainings in a row that go on from the former fine-tuned encoder before one starts over; 0: all start over."""
    replay_share: float = 0.5
    """Share of a continued training's pairs that come from days which the former encoder has seen."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need(self.window > 0, "window", "must be 1 or more")
        self._need(self.temperature > 0, "temperature", "must be above 0")
        self._need(0 <= self.popularity_correction <= 1, "popularity_correction", "must be between 0 and 1")
        self._need(self.hard_negatives >= 0, "hard_negatives", "must be 0 or more")
        self._need(self.pairs_per_user > 0, "pairs_per_user", "must be 1 or more")
        self._need(0 <= self.field_dropout < 1, "field_dropout", "must be at least 0 and below 1")
        self._need(0 <= self.word_dropout < 1, "word_dropout", "must be at least 0 and below 1")
        self._need(self.category_weight >= 0, "category_weight", "must be 0 or more")
        self._need(self.event_type_weight >= 0, "event_type_weight", "must be 0 or more")
        self._need(self.continue_rounds >= 0, "continue_rounds", "must be 0 or more")
        self._need(0 <= self.replay_share < 1, "replay_share", "must be at least 0 and below 1")
        self._need(0 < self.task_learning_rate < 1, "task_learning_rate", "must be between 0 and 1")
