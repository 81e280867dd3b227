"""The one loop that both language model stages train with: warm-up, clipping, early stopping, exact resume.

Every random choice of step `s` comes from `(seed, s)`, so a run that resumes from the checkpoint of step `s` takes the
same remaining steps, and on a CPU ends with the same bits, as one that was never killed.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

import torch
from torch import nn

from models.checkpoints import Checkpoint, CheckpointFolder, optimizer_tensors, restore_optimizer
from models.device import Device
from models.encoder_config import LoopConfig
from models.errors import DataError


@dataclass(frozen=True)
class CurvePoint:
    """One measurement: losses are means, the learning rate is the encoder's."""

    step: int
    train_loss: float | None
    """Mean since the point before; None before the first step."""
    held_out_loss: float | None
    """None where nothing is held out."""


@dataclass(frozen=True)
class TrainingReport:
    """What a training run did."""

    steps: int
    """Steps taken, those before a resume included."""
    best_step: int
    """Step whose weights were kept."""
    curve: tuple[CurvePoint, ...]
    resumed_from: int = 0
    texts_per_second: float = 0.0
    """Texts through forward and backward pass per second, since the resume."""
    tokens_per_second: float = 0.0
    seconds: float = 0.0
    skipped: str = ""
    """Why nothing was trained; empty when it was."""


@dataclass(frozen=True)
class StepCost:
    """Loss of one step as a tensor, and how much was read for it."""

    loss: torch.Tensor
    texts: int
    tokens: int


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters with a learning rate of their own."""

    parameters: Mapping[str, nn.Parameter]
    learning_rate: float
    starts_at: int = 0
    """First step in which they train; before it they are frozen and cost no backward pass."""


@dataclass
class TrainingLoop:
    """Trains `groups` to lower `step_cost`; see `run`."""

    config: LoopConfig
    groups: list[ParameterGroup]
    step_cost: Callable[[int], StepCost]
    """Cost of step `s` (0-based); must depend on nothing but `s` and the parameters."""
    held_out_loss: Callable[[], float | None]
    device: Device
    seed: int
    checkpoints: CheckpointFolder | None = None
    on_point: Callable[[CurvePoint], None] | None = None
    """Called for every point of the curve, also for those read back from a checkpoint."""
    _curve: list[CurvePoint] = field(default_factory=list)
    _best: dict[str, torch.Tensor] = field(default_factory=dict)
    _best_point: CurvePoint | None = None
    _losses: list[float] = field(default_factory=list)

    def run(self) -> TrainingReport:
        """Train to the end of the budget or until the held-out loss stops falling, and keep the best weights.

        Raises:
            DataError: the loss is not a number.
        """
        optimizer = torch.optim.AdamW(
            [{"params": list(g.parameters.values()), "lr": g.learning_rate} for g in self.groups],
            weight_decay=self.config.weight_decay,
        )
        first = self._resume(optimizer)
        begun, texts, tokens, step = time.perf_counter(), 0, 0, first
        with torch.random.fork_rng():
            if first == 0:
                self._measure(0)
            while step < self.config.steps and not self._is_out_of_patience():
                cost = self._take(step, optimizer)
                step, texts, tokens = step + 1, texts + cost.texts, tokens + cost.tokens
                if step % self.config.evaluate_every == 0 or step == self.config.steps:
                    self._measure(step)
                if self.config.checkpoint_every and step % self.config.checkpoint_every == 0:
                    self._store(step, optimizer)
        self.device.synchronize()
        seconds = time.perf_counter() - begun
        best_step = self._keep_best(step)
        return TrainingReport(
            steps=step,
            best_step=best_step,
            curve=tuple(self._curve),
            resumed_from=first,
            texts_per_second=texts / max(seconds, 1e-9),
            tokens_per_second=tokens / max(seconds, 1e-9),
            seconds=seconds,
        )

    def _take(self, step: int, optimizer: torch.optim.AdamW) -> StepCost:
        """One optimiser step; dropout draws from `(seed, step)`."""
        for group, options in zip(self.groups, optimizer.param_groups, strict=True):
            options["lr"] = group.learning_rate * self._share_of_rate(step, group.starts_at)
            for parameter in group.parameters.values():
                parameter.requires_grad_(step >= group.starts_at)
        torch.manual_seed(self.seed * 1_000_003 + step)
        optimizer.zero_grad(set_to_none=True)
        with self.device.autocast():
            cost = self.step_cost(step)
        if not torch.isfinite(cost.loss):
            raise DataError(f"the training loss is {cost.loss.item()} at step {step}; lower the learning_rate")
        cost.loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([p for p in self._named().values() if p.grad is not None], self.config.clip_norm)
        optimizer.step()
        self._losses.append(cost.loss.item())
        return cost

    def _share_of_rate(self, step: int, starts_at: int) -> float:
        """Linear warm-up from the group's first step, then linear decay to zero at the end of the budget."""
        length = self.config.steps - starts_at
        taken = step - starts_at + 1
        if taken <= 0:
            return 0.0
        warmup = max(1, round(self.config.warmup_share * length))
        return min(taken / warmup, (length - taken + 1) / max(1, length - warmup + 1))

    def _measure(self, step: int) -> None:
        with torch.no_grad(), self.device.autocast():
            held_out = self.held_out_loss()
        train = sum(self._losses) / len(self._losses) if self._losses else None
        self._losses = []
        point = CurvePoint(step, train, held_out)
        self._curve.append(point)
        if held_out is not None and (self._best_point is None or held_out < (self._best_point.held_out_loss or 0.0)):
            self._best_point = point
            self._best = {name: value.detach().clone() for name, value in self._named().items()}
        if self.on_point is not None:
            self.on_point(point)

    def _is_out_of_patience(self) -> bool:
        if self._best_point is None:
            return False
        return sum(point.step > self._best_point.step for point in self._curve) >= self.config.patience

    def _keep_best(self, last_step: int) -> int:
        if self._best_point is None:
            return last_step
        with torch.no_grad():
            for name, parameter in self._named().items():
                parameter.copy_(self._best[name])
        return self._best_point.step

    def _named(self) -> dict[str, nn.Parameter]:
        return {name: parameter for group in self.groups for name, parameter in group.parameters.items()}

    def _store(self, step: int, optimizer: torch.optim.AdamW) -> None:
        if self.checkpoints is None:
            return
        tensors: dict[str, torch.Tensor] = {f"now.{name}": value for name, value in self._named().items()}
        tensors |= {f"best.{name}": value for name, value in self._best.items()}
        best = asdict(self._best_point) if self._best_point else None
        state = {"curve": [asdict(point) for point in self._curve], "best": best, "losses": self._losses}
        self.checkpoints.save(step, tensors | optimizer_tensors(optimizer), state)

    def _resume(self, optimizer: torch.optim.AdamW) -> int:
        found = self.checkpoints.latest() if self.checkpoints else None
        if found is None:
            return 0
        self._restore(found, optimizer)
        for point in self._curve:
            if self.on_point is not None:
                self.on_point(point)
        return found.step

    def _restore(self, found: Checkpoint, optimizer: torch.optim.AdamW) -> None:
        with torch.no_grad():
            for name, parameter in self._named().items():
                parameter.copy_(found.tensors[f"now.{name}"])
        restore_optimizer(optimizer, found.tensors)
        self._best = {
            name.removeprefix("best."): tensor.to(self.device.target)
            for name, tensor in found.tensors.items()
            if name.startswith("best.")
        }
        self._curve = [CurvePoint(**point) for point in found.state["curve"]]
        self._best_point = CurvePoint(**found.state["best"]) if found.state["best"] else None
        self._losses = list(found.state["losses"])
