"""Hyper-parameters of the sequence transformer; torch-free, so that reading a configuration stays cheap."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from models.errors import ConfigurationError
from models.ties import TIES, Ties

FEWEST_STEPS = 1_000
"""Steps that a training keeps, however large a device could make them."""


@dataclass(frozen=True)
class SequenceConfig:
    """Hyper-parameters of the sequence transformer and of its training."""

    embedding_size: int = 64
    """Dimension of item and user vectors."""
    blocks: int = 1
    """Number of transformer blocks."""
    heads: int = 2
    """Attention heads; must divide `embedding_size`."""
    feedforward_multiple: int = 2
    """Width of the feed-forward layer, as a multiple of `embedding_size`."""
    max_length: int = 50
    """Latest interactions that the network reads; longer histories are cut, in training into several windows."""
    norm: Literal["pre", "post"] = "post"
    """Layer normalisation before or after each residual sum."""
    targets: Literal["unseen", "all"] = "unseen"
    """Train on items that the user had not had before (what lists that leave out seen items need), or on all."""
    positions: Literal["absolute", "none"] = "absolute"
    """Learned vector per place in the window, or none (order is then known from causality and the filter alone)."""
    times: Literal["none", "gaps"] = "none"
    """Whether a place also knows how long ago the interaction before it was: a learned vector for each doubling of
    the gap in hours (a time-aware variant in the manner of TiSASRec, Li et al. 2020, with gaps between neighbours)."""
    ties: Ties = "auto"
    """unordered: interactions of the same second are shuffled anew in every epoch, so that their order is not learned;
    ordered: the order of the log is believed; auto: whichever the training log supports (`models/ties.py`)."""
    item_source: Literal["auto", "id", "text", "joint"] = "auto"
    """An item's vector: a trained ID embedding, its projected text, or the sum; `auto` is the sum where the catalogue
    has text vectors and the ID embedding where it has none."""
    text_initial: bool = True
    """Start the text projection at the principal components of the catalogue's text vectors."""
    text_hidden: int = 0
    """Width of the hidden layer of the text projection; 0 is a linear projection."""
    text_dropout: float = 0.0
    """Dropout on the text vectors before the projection."""
    id_dropout: float = 0.0
    """Chance that an item's ID part is left out for one batch, which trains its text to stand alone (joint only)."""
    frequency_share: float = 0.7
    """Weight of the frequency layer against attention in a block (BSARec's alpha); 0 is a plain transformer."""
    frequency_cutoff: int = 5
    """Low frequencies kept by the filter (BSARec's c): components 0 to cutoff // 2 of a window of `max_length`."""
    dropout: float = 0.5
    """Dropout on embeddings, residual branches and inside the feed-forward layer."""
    attention_dropout: float = 0.5
    """Dropout on attention weights."""
    logits: Literal["dot", "cosine"] = "cosine"
    """Score of an item: inner product, or cosine divided by `temperature` (learns several times faster)."""
    temperature: float = 0.08
    """Divides the cosine; unused with `dot`."""
    loss: Literal["auto", "full", "sampled"] = "auto"
    """Softmax over all items, or over sampled negatives; `auto` is full up to `full_softmax_items` items."""
    full_softmax_items: int = 2_000
    """Largest catalogue for which `auto` takes the full softmax."""
    negatives: int = 512
    """Negatives shared by a batch in the sampled softmax."""
    negative_sampling: Literal["uniform", "popularity"] = "uniform"
    """How negatives are drawn, with replacement; the logits are corrected by the log of the sampling rate."""
    label_smoothing: float = 0.0
    """Share of the target's probability spread over all items (over the negatives in the sampled softmax)."""
    learning_rate: float = 2e-3
    """Peak learning rate of AdamW."""
    weight_decay: float = 0.0
    """Decoupled weight decay of AdamW on matrices and embeddings, not on biases and norms."""
    warmup_share: float = 0.05
    """Share of all steps in which the learning rate rises from zero; it then falls along a cosine."""
    final_rate: float = 0.1
    """Learning rate at the end, as a share of the peak."""
    gradient_norm: float = 5.0
    """Gradients are scaled down to this norm; 0 leaves them."""
    averaging: float = 0.99
    """Decay per step of the running average of the weights that is evaluated and kept; 0 keeps the last weights."""
    batch_tokens: int = 2048
    """Training positions per step, about."""
    epochs: int = 14
    """Passes over the log at most; the learning-rate schedule spans them."""
    patience: int = 0
    """Epochs without a better validation NDCG@10 before training stops; 0 always trains all epochs."""
    validation_every: int = 2
    """Epochs between two validations."""
    validation_users: int = 10_000
    """Users in the validation that `fit` holds out for itself, at most."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ConfigurationError: a value is out of its range.
        """
        for names, is_allowed, wording in _LIMITS:
            for name in names:
                if not is_allowed(getattr(self, name)):
                    raise ConfigurationError(f"sequence.{name} is {getattr(self, name)}; it must be {wording}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigurationError(
                    f"sequence.{name} is {getattr(self, name)!r}; choose from {', '.join(choices)}"
                )
        if self.embedding_size % self.heads:
            raise ConfigurationError(f"sequence.heads {self.heads} must divide embedding_size {self.embedding_size}")

    def for_larger_steps(self, positions: int, most: int) -> "SequenceConfig":
        """The configuration for a device that may take `most` times as many positions in a step.

        The steps grow only as far as `FEWEST_STEPS` of them remain. The rate grows with the square root of the step,
        which keeps the noise of Adam's updates (Malladi et al. 2022, arXiv:2205.10287), and the average of the
        weights goes on spanning as many positions.

        Args:
            positions: Training positions of one epoch.
            most: Largest growth of a step.
        """
        steps = positions * self.epochs // self.batch_tokens
        growth = max(1, min(most, steps // FEWEST_STEPS))
        if growth == 1:
            return self
        return replace(
            self,
            batch_tokens=self.batch_tokens * growth,
            learning_rate=self.learning_rate * math.sqrt(growth),
            averaging=self.averaging**growth,
        )


_COUNTS = (
    "embedding_size",
    "blocks",
    "heads",
    "feedforward_multiple",
    "max_length",
    "frequency_cutoff",
    "negatives",
    "batch_tokens",
    "epochs",
    "validation_every",
    "validation_users",
)
_SHARES = ("text_dropout", "id_dropout", "dropout", "attention_dropout", "label_smoothing", "averaging", "warmup_share")
_CLOSED_SHARES = ("frequency_share", "final_rate")
_NOT_NEGATIVE = ("weight_decay", "gradient_norm", "patience", "text_hidden", "full_softmax_items")
_POSITIVE = ("learning_rate", "temperature")
_LIMITS: tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...] = (
    (_COUNTS, lambda value: value >= 1, "at least 1"),
    (_SHARES, lambda value: 0 <= value < 1, "in [0, 1)"),
    (_CLOSED_SHARES, lambda value: 0 <= value <= 1, "in [0, 1]"),
    (_NOT_NEGATIVE, lambda value: value >= 0, "0 or more"),
    (_POSITIVE, lambda value: value > 0, "above 0"),
)
_CHOICES: dict[str, tuple[str, ...]] = {
    "norm": ("pre", "post"),
    "targets": ("unseen", "all"),
    "positions": ("absolute", "none"),
    "times": ("none", "gaps"),
    "ties": TIES,
    "item_source": ("auto", "id", "text", "joint"),
    "logits": ("dot", "cosine"),
    "loss": ("auto", "full", "sampled"),
    "negative_sampling": ("uniform", "popularity"),
}
