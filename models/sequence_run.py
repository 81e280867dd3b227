"""State of one training run of the sequence transformer: what a checkpoint must hold to continue it exactly."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from models.checkpoints import Checkpoint, CheckpointFolder, optimizer_tensors, restore_optimizer
from models.sequence_encoder import SequenceConfig, SequenceEncoder


@dataclass(frozen=True)
class EpochReport:
    """What one epoch measured."""

    epoch: int
    """1-based."""
    loss: float
    """Mean training loss."""
    learning_rate: float
    """Learning rate of the last step."""
    ndcg: float | None
    """Validation NDCG@10, None where the epoch was not validated."""


@dataclass
class TrainingRun:
    """Weights, optimiser, averages and the best weights so far. All tensors are in the order of the parameters."""

    encoder: SequenceEncoder
    optimizer: torch.optim.Optimizer
    config: SequenceConfig
    forward: Callable[..., Tensor]
    """The encoder's forward pass, compiled where the device does so."""
    average: list[Tensor] = field(default_factory=list)
    """Running average of the weights; empty where the configuration averages nothing."""
    best: list[Tensor] = field(default_factory=list)
    """Weights of the best validation; empty before the first."""
    best_epoch: int = 0
    best_ndcg: float = -1.0
    step: int = 0
    reports: list[EpochReport] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start the average at the initial weights."""
        if self.config.averaging and not self.average:
            self.average = _copies(self.encoder)

    def is_exhausted(self) -> bool:
        """Whether validation has not improved for the configured patience."""
        return 0 < self.config.patience <= len(self.reports) - self.best_epoch and self.best_epoch > 0

    @torch.no_grad()
    def update_average(self) -> None:
        """Move the average towards the current weights; faster in the first steps, which start far away."""
        if self.average:
            decay = min(self.config.averaging, (1.0 + self.step) / (10.0 + self.step))
            torch._foreach_lerp_(self.average, list(self.encoder.parameters()), 1.0 - decay)

    def keep_if_best(self, epoch: int, ndcg: float) -> None:
        """Remember the (averaged) weights if `ndcg` is the highest so far."""
        if ndcg > self.best_ndcg:
            self.best_ndcg, self.best_epoch = ndcg, epoch
            self.best = [tensor.clone() for tensor in self.average] or _copies(self.encoder)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Run the block with the averaged weights in the encoder."""
        if not self.average:
            yield
            return
        current = _copies(self.encoder)
        load_weights(self.encoder, self.average)
        try:
            yield
        finally:
            load_weights(self.encoder, current)

    def finish(self, *, is_stopping: bool) -> int:
        """Put the final weights into the encoder and return their epoch: the best, or the last."""
        if is_stopping and self.best:
            load_weights(self.encoder, self.best)
            return self.best_epoch
        if self.average:
            load_weights(self.encoder, self.average)
        return len(self.reports)

    def store(self, folder: CheckpointFolder) -> None:
        """Write a checkpoint of the run as it is."""
        tensors = optimizer_tensors(self.optimizer)
        for name, weights in (("weights", _copies(self.encoder)), ("average", self.average), ("best", self.best)):
            tensors |= {f"{name}.{index:03d}": tensor for index, tensor in enumerate(weights)}
        reports = [asdict(report) for report in self.reports]
        state = {"best_epoch": self.best_epoch, "best_ndcg": self.best_ndcg, "reports": reports}
        folder.save(self.step, tensors, state)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint that `store` wrote."""
        device = next(self.encoder.parameters()).device
        restore_optimizer(self.optimizer, checkpoint.tensors)
        load_weights(self.encoder, _named(checkpoint, "weights.", device))
        self.average, self.best = _named(checkpoint, "average.", device), _named(checkpoint, "best.", device)
        self.step = checkpoint.step
        self.best_epoch, self.best_ndcg = checkpoint.state["best_epoch"], checkpoint.state["best_ndcg"]
        self.reports = [EpochReport(**report) for report in checkpoint.state["reports"]]


@torch.no_grad()
def load_weights(encoder: SequenceEncoder, weights: list[Tensor]) -> None:
    """Copy `weights`, in the order of the parameters, into the encoder."""
    for parameter, tensor in zip(encoder.parameters(), weights, strict=True):
        parameter.copy_(tensor)


def _copies(encoder: SequenceEncoder) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in encoder.parameters()]


def _named(checkpoint: Checkpoint, prefix: str, device: torch.device) -> list[Tensor]:
    names = sorted(name for name in checkpoint.tensors if name.startswith(prefix))
    return [checkpoint.tensors[name].to(device) for name in names]
