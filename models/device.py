"""Where tensors live and in which precision: decided here and nowhere else."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch

from models.errors import ConfigurationError

KINDS = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class Device:
    """A device and the precision that forward passes run in on it."""

    kind: str
    """cpu, cuda or mps."""
    compute_dtype: torch.dtype
    """bfloat16 on CUDA, float32 elsewhere. Master weights and optimiser states are always float32."""
    description: str
    """In words, for a run's record: such as `cpu, 2 threads` or `cuda, NVIDIA H200`."""

    @property
    def target(self) -> torch.device:
        """The same device for torch."""
        return torch.device(self.kind)

    def autocast(self) -> torch.autocast | nullcontext[None]:
        """Mixed precision where the device has it; nothing at float32."""
        if self.compute_dtype is torch.float32:
            return nullcontext()
        return torch.autocast(device_type=self.kind, dtype=self.compute_dtype)

    def synchronize(self) -> None:
        """Wait until queued work is done, so that a stopwatch tells the truth."""
        if self.kind == "cuda":
            torch.cuda.synchronize()
        elif self.kind == "mps":
            torch.mps.synchronize()


def choose_device(kind: str = "auto") -> Device:
    """The device called `kind`; `auto` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        ConfigurationError: the device is unknown or this machine does not have it.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind == "auto":
        kind = next(name for name in ("cuda", "mps", "cpu") if available[name])
    if kind not in available:
        raise ConfigurationError(f"device {kind!r} is unknown; use one of {', '.join(KINDS)}")
    if not available[kind]:
        raise ConfigurationError(f"this machine has no usable {kind} device; set the device to auto or cpu")
    dtype = torch.bfloat16 if kind == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    return Device(kind=kind, compute_dtype=dtype, description=_describe(kind))


def _describe(kind: str) -> str:
    if kind == "cuda":
        return f"cuda, {torch.cuda.get_device_name()}"
    return f"cpu, {torch.get_num_threads()} threads" if kind == "cpu" else kind


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Run the block with `count` CPU threads inside torch (None: leave as is), then restore the former number."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run the block with torch's generators seeded, then restore their former state."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
