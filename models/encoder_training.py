"""What pretraining and fine-tuning share: which parameters train, LoRA, batches, and the result folder."""

import hashlib
import json
import re
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from models.encoder_config import LoopConfig
from models.errors import ConfigurationError
from models.interactions import LongArray
from models.training_loop import TrainingReport

_LAYER = re.compile(r"(?:^|\.)(?:layer|layers|h|block|blocks)\.(\d+)\.")
_EMBEDDING = re.compile(r"(?:^|\.)(?:embeddings|embed_tokens|wte|wpe)\.")
_BUCKET = 16
"""Batches whose texts are sorted by length together: little padding, still mixed."""


@dataclass(frozen=True)
class TrainedEncoder:
    """A stage's result: a folder that `TextEncoder.load` reads."""

    folder: Path
    version: str
    """Content hash of the folder; equal trainings give equal versions on a CPU."""
    report: TrainingReport
    skipped_tasks: dict[str, str] = field(default_factory=dict)
    """Why a task that was asked for beside the main one was not learned, by task."""
    figures: dict[str, float] = field(default_factory=dict)
    """What was measured of the training beside its report."""


def trainable_parameters(model: nn.Module, config: LoopConfig, prefix: str = "") -> dict[str, nn.Parameter]:
    """The parameters of a transformer that train; freezes all others.

    With LoRA those of the adapters, which `add_lora` put in; else all but the `frozen_layers` lowest ones.

    Raises:
        ConfigurationError: more layers are to be frozen than the model has.
    """
    chosen = {}
    layers = [int(found[1]) for name, _ in model.named_parameters() if (found := _LAYER.search(name))]
    if config.frozen_layers > max(layers, default=-1) + 1:
        raise ConfigurationError(f"frozen_layers = {config.frozen_layers}, but the model has {max(layers) + 1} layers")
    for name, parameter in model.named_parameters():
        is_chosen = "lora_" in name if config.lora_rank else not _is_frozen(name, config.frozen_layers)
        parameter.requires_grad_(is_chosen)
        if is_chosen:
            chosen[prefix + name] = parameter
    return chosen


def add_lora(model: Any, config: LoopConfig) -> Any | None:
    """Put LoRA adapters into all linear layers of `model`, in place; returns the adapter for `merge_lora`."""
    if not config.lora_rank:
        return None
    from peft import LoraConfig, get_peft_model

    options = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules="all-linear",
    )
    with warnings.catch_warnings():  # peft 0.21 reads an attribute that transformers 5 has renamed
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        return get_peft_model(model, options)


def merge_lora(model: Any, adapter: Any | None) -> Any:
    """The transformer with its adapters merged into its own weights."""
    return model if adapter is None else adapter.merge_and_unload()


def split_held_out(count: int, largest: int, seed: int) -> tuple[LongArray, LongArray]:
    """Row numbers to train on and to hold out: at random, at most a tenth and at most `largest` held out."""
    order = np.random.default_rng([seed, 1]).permutation(count)
    held_out = min(largest, count // 10)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def batch_rows(lengths: LongArray, batch_size: int, seed: int, step: int) -> LongArray:
    """Rows of the batch of `step`: every epoch a new order, texts of similar length together.

    Depends on nothing but its arguments, so that a resumed run reads the same batches.
    """
    count = len(lengths)
    per_epoch = max(1, count // batch_size)
    epoch, index = divmod(step, per_epoch)
    rng = np.random.default_rng([seed, 2, epoch])
    order = rng.permutation(count)
    for first in range(0, count, _BUCKET * batch_size):
        bucket = order[first : first + _BUCKET * batch_size]
        order[first : first + len(bucket)] = bucket[np.argsort(lengths[bucket], kind="stable")]
    chosen = int(rng.permutation(per_epoch)[index])
    return np.asarray(order[chosen * batch_size : (chosen + 1) * batch_size], dtype=np.int64)


def training_fingerprint(stage: str, base_version: str, config: LoopConfig, seed: int, parts: Iterable[str]) -> str:
    """Hash of everything that decides a training's result, 32 hexadecimal digits.

    Args:
        stage: Name of the stage.
        base_version: Content version of the weights that it starts from.
        config: Its hyper-parameters.
        seed: Its seed.
        parts: The training data as strings, or hashes of it.
    """
    digest = hashlib.sha256(json.dumps([stage, base_version, asdict(config), seed]).encode())
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:32]


def _is_frozen(name: str, frozen_layers: int) -> bool:
    if not frozen_layers:
        return False
    found = _LAYER.search(name)
    return int(found[1]) < frozen_layers if found else bool(_EMBEDDING.search(name))
