"""Training of the generative retriever: every token of every item of a history is predicted from those before it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.checkpoints import CheckpointFolder
from models.device import Device, seeded
from models.encoder_training import batch_rows, split_held_out
from models.errors import DataError
from models.generative_config import GenerativeConfig
from models.generative_decoder import new_decoder, start_at_centres
from models.generative_tokens import PAD, TokenSpace, token_rows, training_windows
from models.interactions import IntArray, InteractionLog, LongArray
from models.semantic_ids import NO_ID, SemanticIds
from models.training_loop import CurvePoint, ParameterGroup, StepCost, TrainingLoop, TrainingReport


def train_decoder(
    log: InteractionLog,
    tokens: IntArray,
    ids: SemanticIds,
    config: GenerativeConfig,
    *,
    seed: int,
    device: Device,
    checkpoint_folder: Path | None = None,
    on_point: Callable[[CurvePoint], None] | None = None,
) -> tuple[Any, TrainingReport]:
    """A decoder that has learned to write the next item's ID.

    Args:
        log: Interactions that training may see.
        tokens: ID of each item row of the log, shape (items, length of an ID).
        ids: The quantiser that made them.
        config: Hyper-parameters.
        seed: Decides everything random.
        device: Where to train.
        checkpoint_folder: Where to keep checkpoints; a run that was killed resumes from it with the same result.
        on_point: Called with every point of the loss curve.

    Raises:
        DataError: no user has two different items with an ID.
    """
    space = TokenSpace.of(ids)
    item_tokens = space.encode(tokens)
    windows = training_windows(log, (tokens != NO_ID).all(axis=1), config.history_items)
    if not windows:
        raise DataError("no user has two different items with a semantic ID; there is no next item to learn from")
    with seeded(seed):
        decoder = new_decoder(config, space)
        if config.code_initial:
            start_at_centres(decoder, space, ids.centres, seed)
    store = None
    if checkpoint_folder is not None:
        store = CheckpointFolder(checkpoint_folder, _fingerprint(windows, item_tokens, config, seed))
    task = _Task(decoder.to(device.target), windows, item_tokens, config, seed, device)
    groups = [ParameterGroup(dict(decoder.named_parameters()), config.learning_rate)]
    decoder.train()
    loop = TrainingLoop(config.loop, groups, task.step_cost, task.held_out_loss, device, seed, store, on_point)
    report = loop.run()
    return decoder.eval(), report


@dataclass
class _Task:
    """Decoder and histories of one training."""

    decoder: Any
    windows: list[IntArray]
    item_tokens: LongArray
    config: GenerativeConfig
    seed: int
    device: Device

    def __post_init__(self) -> None:
        self.training, self.held_out = split_held_out(len(self.windows), self.config.held_out, self.seed)
        self.lengths = np.array([len(self.windows[row]) for row in self.training], dtype=np.int64)

    def step_cost(self, step: int) -> StepCost:
        """Mean loss over the tokens of the batch of `step`."""
        rows = self.training[batch_rows(self.lengths, self.config.batch_size, self.seed, step)]
        loss, tokens = self._loss(rows)
        return StepCost(loss, len(rows), tokens)

    def held_out_loss(self) -> float | None:
        """Mean over the tokens of the held-out histories."""
        if not len(self.held_out):
            return None
        self.decoder.eval()
        total, count = 0.0, 0
        for begin in range(0, len(self.held_out), self.config.batch_size):
            loss, tokens = self._loss(self.held_out[begin : begin + self.config.batch_size])
            total, count = total + loss.item() * tokens, count + tokens
        self.decoder.train()
        return total / count

    def _loss(self, rows: LongArray) -> tuple[torch.Tensor, int]:
        ids = torch.from_numpy(token_rows([self.windows[row] for row in rows], self.item_tokens))
        ids = ids.to(self.device.target)
        logits = self.decoder(input_ids=ids[:, :-1]).logits.float()
        wanted = ids[:, 1:]
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=PAD)
        return loss, int((wanted != PAD).sum())


def _fingerprint(windows: list[IntArray], item_tokens: LongArray, config: GenerativeConfig, seed: int) -> str:
    digest = hashlib.sha256(json.dumps([asdict(config), seed]).encode())
    digest.update(item_tokens.tobytes())
    for window in windows:
        digest.update(np.asarray(window, dtype=np.int32).tobytes() + b";")
    return digest.hexdigest()[:32]
