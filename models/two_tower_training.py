"""The two towers with their score head, and their training to tell engaged items from sampled ones."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.checkpoints import CheckpointFolder
from models.device import Device, seeded
from models.encoder_training import split_held_out
from models.errors import DataError
from models.interactions import FloatArray, InteractionLog, LongArray
from models.metrics import area_under_curve
from models.training_loop import CurvePoint, ParameterGroup, StepCost, TrainingLoop, TrainingReport
from models.two_tower_config import TwoTowerConfig

FIRST_SCALE = 8.0
"""Start of the score head: cosines of texts times this are logits of a useful size."""


class Tower(nn.Module):
    """A text vector to a tower vector: a projection that keeps cosines, plus what a small network adds to it."""

    def __init__(self, text_size: int, config: TwoTowerConfig) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.projection = nn.Linear(text_size, config.embedding_size, bias=False)
        self.inner = nn.Linear(text_size, config.hidden)
        self.outer = nn.Linear(config.hidden, config.embedding_size, bias=False)
        nn.init.zeros_(self.outer.weight)  # at first the text alone speaks

    def forward(self, text: Tensor) -> Tensor:
        """Shape (..., text size) to (..., embedding size)."""
        text = self.dropout(text)
        added: Tensor = self.outer(self.dropout(nn.functional.gelu(self.inner(text))))
        kept: Tensor = self.projection(text)
        return kept + added


class TwoTower(nn.Module):
    """User tower, item tower and the bilinear score head: logit = user · head · item + bias."""

    def __init__(self, text_size: int, config: TwoTowerConfig) -> None:
        super().__init__()
        self.user, self.item = Tower(text_size, config), Tower(text_size, config)
        self.head = nn.Parameter(FIRST_SCALE * torch.eye(config.embedding_size))
        self.bias = nn.Parameter(-torch.log(torch.tensor(float(config.negatives))))

    def users(self, text: Tensor) -> Tensor:
        """User vectors with the head applied, so that the score is their dot product with item vectors."""
        vectors: Tensor = self.user(text)
        return vectors @ self.head

    def items(self, text: Tensor) -> Tensor:
        """Item vectors."""
        vectors: Tensor = self.item(text)
        return vectors

    def start_at_components(self, text: Tensor) -> None:
        """Start both projections at the principal components of the items' texts, shape (items, text size)."""
        components = torch.linalg.svd(text.double(), full_matrices=False).Vh
        count = min(len(components), len(self.head))
        with torch.no_grad():
            for tower in (self.user, self.item):
                tower.projection.weight.zero_()
                tower.projection.weight[:count] = components[:count].to(tower.projection.weight)


@dataclass(frozen=True)
class TrainedTowers:
    """The network and what was measured of it."""

    network: TwoTower
    report: TrainingReport
    auc: float
    """Chance that a held-out engaged item scores above an item sampled for the same user; NaN without held-out ones."""


def train_two_tower(
    log: InteractionLog,
    item_text: FloatArray,
    config: TwoTowerConfig,
    *,
    seed: int,
    device: Device,
    checkpoint_folder: Path | None = None,
    on_point: Callable[[CurvePoint], None] | None = None,
) -> TrainedTowers:
    """Train with binary cross-entropy: each engaged item against items sampled for the same user.

    Args:
        log: Interactions that training may see.
        item_text: Text vectors, shape (items, text size); a zero row for an item without text.
        config: Hyper-parameters.
        seed: Decides everything random.
        device: Where to train.
        checkpoint_folder: Where to keep checkpoints; a run that was killed resumes from it with the same result.
        on_point: Called with every point of the loss curve.

    Raises:
        DataError: no user has two items with a text.
    """
    task = _Task(log, item_text, config, seed, device)
    store = None
    if checkpoint_folder is not None:
        store = CheckpointFolder(checkpoint_folder, task.fingerprint())
    groups = [ParameterGroup(dict(task.network.named_parameters()), config.learning_rate)]
    task.network.train()
    loop = TrainingLoop(config.loop, groups, task.step_cost, task.held_out_loss, device, seed, store, on_point)
    report = loop.run()
    task.network.eval()
    return TrainedTowers(task.network, report, task.auc())


class _Task:
    """Interactions with a history before them, the texts, and the network."""

    def __init__(
        self, log: InteractionLog, item_text: FloatArray, config: TwoTowerConfig, seed: int, device: Device
    ) -> None:
        self.log, self.config, self.seed, self.device = log, config, seed, device
        has_text = (item_text != 0).any(axis=1)
        is_first = np.zeros(len(log.item_rows), dtype=bool)
        is_first[log.start[:-1][np.diff(log.start) > 0]] = True
        self.examples = np.flatnonzero(~is_first & has_text[log.item_rows]).astype(np.int64)
        if not len(self.examples):
            raise DataError("no user has two items with a text; there is nothing that the two towers could learn from")
        self.training, self.held_out = split_held_out(len(self.examples), config.held_out, seed)
        counts = np.bincount(log.item_rows, minlength=len(item_text)).astype(np.float64)
        rates = np.where(has_text, np.maximum(counts, 1.0) ** config.sampling_power, 0.0)
        self.cumulative = np.cumsum(rates)
        self.owners = log.user_rows
        self.taken = np.unique(self.owners.astype(np.int64) * log.item_count + log.item_rows)
        self.text = torch.from_numpy(item_text).to(device.target)
        with seeded(seed):
            network = TwoTower(item_text.shape[1], config)
        network.start_at_components(torch.from_numpy(item_text[has_text]))
        self.network = network.to(device.target)

    def step_cost(self, step: int) -> StepCost:
        """Loss of the examples of `step`, drawn at random."""
        rng = np.random.default_rng([self.seed, 3, step])
        chosen = rng.choice(self.training, size=min(self.config.batch_size, len(self.training)), replace=False)
        logits, labels, known = self._logits(self.examples[chosen], rng)
        loss = nn.functional.binary_cross_entropy_with_logits(logits[known], labels[known])
        return StepCost(loss, int(known.sum()), int(known.sum()))

    def held_out_loss(self) -> float | None:
        """Mean over the held-out examples with the same sampled items every time."""
        if not len(self.held_out):
            return None
        logits, labels = self._held_out_logits()
        return float(nn.functional.binary_cross_entropy_with_logits(logits, labels))

    def auc(self) -> float:
        """Area under the curve on the held-out examples."""
        if not len(self.held_out):
            return float("nan")
        with torch.no_grad():
            logits, labels = self._held_out_logits()
        return area_under_curve(logits.double().cpu().numpy(), labels.cpu().numpy() > 0)

    def fingerprint(self) -> str:
        """Hash of all that decides the weights."""
        digest = hashlib.sha256(json.dumps([asdict(self.config), self.seed]).encode())
        for array in (self.log.item_rows, self.log.start, self.text.cpu().numpy()):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:32]

    def _held_out_logits(self) -> tuple[Tensor, Tensor]:
        self.network.eval()
        parts = []
        for begin in range(0, len(self.held_out), self.config.batch_size):
            rows = self.examples[self.held_out[begin : begin + self.config.batch_size]]
            logits, labels, known = self._logits(rows, np.random.default_rng([self.seed, 4, begin]))
            parts.append((logits[known], labels[known]))
        self.network.train()
        return torch.cat([logits for logits, _ in parts]), torch.cat([labels for _, labels in parts])

    def _logits(self, rows: LongArray, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Logits and labels of engaged and sampled items, and which count; each (examples, 1 + negatives)."""
        draws = rng.random((len(rows), self.config.negatives)) * self.cumulative[-1]
        sampled = np.minimum(np.searchsorted(self.cumulative, draws, side="right"), len(self.cumulative) - 1)
        owners = self.owners[rows].astype(np.int64)
        places = np.searchsorted(self.taken, codes := owners[:, None] * self.log.item_count + sampled)
        is_own = self.taken[np.minimum(places, len(self.taken) - 1)] == codes
        items = np.column_stack([self.log.item_rows[rows], sampled]).astype(np.int64)
        distinct, where = np.unique(items, return_inverse=True)
        vectors = self.network.items(self.text[torch.from_numpy(distinct).to(self.device.target)])
        users = self.network.users(self._user_text(rows))
        of_items = vectors[torch.from_numpy(where.reshape(items.shape)).to(self.device.target)]
        logits = torch.einsum("ud,und->un", users, of_items).float() + self.network.bias
        labels = torch.zeros_like(logits)
        labels[:, 0] = 1
        known = np.column_stack([np.ones(len(rows), dtype=bool), ~is_own])
        return logits, labels, torch.from_numpy(known).to(self.device.target)

    def _user_text(self, rows: LongArray) -> Tensor:
        """Mean text of what the user had before each interaction, as `ContentRetriever.user_vectors` has it."""
        length = self.config.history_length
        places = rows[:, None] - length + np.arange(length)
        is_real = places >= self.log.start[self.owners[rows]][:, None]
        age = np.arange(length - 1, -1, -1)
        decay = self.config.recency_decay
        share = np.exp(-age / decay) if decay > 0 else np.ones(length)
        safe = np.where(is_real, places, 0)
        weights = np.where(is_real, share * self.log.weights[safe], 0.0).astype(np.float32)
        items = torch.from_numpy(self.log.item_rows[safe].astype(np.int64)).to(self.device.target)
        sums = torch.einsum("ul,uld->ud", torch.from_numpy(weights).to(self.device.target), self.text[items])
        return nn.functional.normalize(sums, dim=-1)
