"""Prediction heads of language models, and the loss that reads them: masked tokens or the next token."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING, AutoConfig

from models.device import seeded
from models.errors import DataError
from models.language_model import is_masked, load_transformer, quiet_transformers

IGNORED = -100
"""Label of a token that is not predicted (the convention of `torch.nn.functional.cross_entropy`)."""


def mask_tokens(
    ids: torch.Tensor,
    mask: torch.Tensor,
    special: torch.Tensor,
    mask_token: int,
    vocabulary: int,
    share: float,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hide tokens for prediction: of the chosen ones 80 % become the mask, 10 % a random token, 10 % stay.

    Args:
        ids: Token numbers on the CPU, shape (texts, tokens).
        mask: 1 for real tokens, same shape.
        special: Token numbers that are never chosen, shape (specials,).
        mask_token: Number of the mask.
        vocabulary: Number of tokens.
        share: Share of tokens to choose; at least one in every text that has a choosable one.
        generator: Source of chance.

    Returns:
        What the model reads, and what it has to predict (`IGNORED` elsewhere), both of the shape of `ids`.
    """
    is_choosable = mask.bool() & ~torch.isin(ids, special)
    draws = torch.rand(ids.shape, generator=generator).masked_fill(~is_choosable, 2.0)
    is_lowest = draws == draws.min(dim=1, keepdim=True).values
    is_chosen = is_choosable & ((draws < share) | is_lowest)
    fate = torch.rand(ids.shape, generator=generator)
    random_ids = torch.randint(vocabulary, ids.shape, generator=generator)
    read = torch.where(is_chosen & (fate < 0.8), mask_token, ids)
    read = torch.where(is_chosen & (fate >= 0.8) & (fate < 0.9), random_ids, read)
    return read, torch.where(is_chosen, ids, IGNORED)


def token_loss(model: Any, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy at the predicted positions only: logits of the others would cost most of the step.

    Args:
        model: With its prediction head.
        hidden: Token vectors, shape (texts, tokens, dimension).
        labels: Token that position has to predict, `IGNORED` elsewhere, shape (texts, tokens); on any device.
    """
    is_predicted = labels != IGNORED
    logits = head_of(model)(hidden[is_predicted.to(hidden.device)])
    return nn.functional.cross_entropy(logits.float(), labels[is_predicted].to(hidden.device))


def load_with_head(folder: Path, seed: int) -> tuple[Any, bool]:
    """The transformer with a prediction head, and whether that head is new (the folder had none)."""
    load_transformer(folder)  # proves that the weights fit, with a precise error
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    mapping = MODEL_FOR_MASKED_LM_MAPPING if is_masked(config) else MODEL_FOR_CAUSAL_LM_MAPPING
    kind: Any = mapping[type(config)]
    with quiet_transformers(), seeded(seed):
        model, report = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    return model, bool(report["missing_keys"])


def head_of(model: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """The modules from token vector to logits, under the names that `transformers` gives them.

    Raises:
        DataError: the architecture names its head in a way that is not known here.
    """
    for name in ("cls", "lm_head"):
        if hasattr(model, name):
            head: Callable[[torch.Tensor], torch.Tensor] = getattr(model, name)
            return head
    if hasattr(model, "head") and hasattr(model, "decoder"):
        return lambda hidden: torch.as_tensor(model.decoder(model.head(hidden)))
    if hasattr(model, "vocab_transform"):
        return lambda hidden: torch.as_tensor(
            model.vocab_projector(model.vocab_layer_norm(model.activation(model.vocab_transform(hidden))))
        )
    raise DataError(
        f"masked pretraining does not know the head of {type(model).__name__}; set pretraining.steps to 0 to skip it"
    )
