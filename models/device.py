"""Where tensors live, in which precision, and what a GPU may do to be fast: decided here and nowhere else.

Attention needs no choice: torch's own function takes a fused kernel wherever the device and the precision have one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from models.errors import ConfigurationError

KINDS = ("auto", "cpu", "cuda", "mps")
CUDA_BATCH_MULTIPLE = 8
"""How many times the positions of a CPU's step a GPU takes in one, at most."""


@dataclass(frozen=True)
class Device:
    """A device and the precision that forward passes run in on it."""

    kind: str
    """cpu, cuda or mps."""
    compute_dtype: torch.dtype
    """bfloat16 on CUDA, float32 elsewhere. Master weights and optimiser states are always float32."""
    description: str
    """In words, for a run's record: such as `cpu, 2 threads` or `cuda, NVIDIA H200`."""
    is_compiled: bool = False
    """Whether the training compiles its forward pass into fused graphs."""
    batch_multiple: int = 1
    """How many times larger than on a CPU a training step may be."""

    @property
    def target(self) -> torch.device:
        """The same device for torch."""
        return torch.device(self.kind)

    def autocast(self) -> torch.autocast | nullcontext[None]:
        """Mixed precision where the device has it; nothing at float32."""
        if self.compute_dtype is torch.float32:
            return nullcontext()
        return torch.autocast(device_type=self.kind, dtype=self.compute_dtype)

    def compiled(self, module: nn.Module) -> Callable[[Tensor], Tensor]:
        """The module's forward pass, as a fused graph where the device compiles; parameters and mode are shared."""
        if not self.is_compiled:
            return module
        # Batches have many lengths: one graph for all of them instead of one each.
        fused: Callable[[Tensor], Tensor] = torch.compile(module, dynamic=True)
        return fused

    @contextmanager
    def fast_products(self) -> Iterator[None]:
        """Run the block with float32 matrix products in the GPU's shortened format (TF32); unchanged elsewhere."""
        if self.kind != "cuda":
            yield
            return
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)

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
    has_bfloat16 = kind == "cuda" and torch.cuda.is_bf16_supported()
    return device_of(kind, _describe(kind), has_bfloat16=has_bfloat16, has_compiler=find_spec("triton") is not None)


def device_of(kind: str, description: str, *, has_bfloat16: bool, has_compiler: bool) -> Device:
    """What is chosen on a kind of device: CUDA computes in mixed precision, in fused graphs and in larger steps.

    Args:
        kind: cpu, cuda or mps.
        description: In words.
        has_bfloat16: Whether its CUDA cores know bfloat16.
        has_compiler: Whether what compiles graphs for CUDA is installed.
    """
    if kind != "cuda":
        return Device(kind, torch.float32, description)
    return Device(
        kind,
        torch.bfloat16 if has_bfloat16 else torch.float32,
        description,
        is_compiled=has_compiler,
        batch_multiple=CUDA_BATCH_MULTIPLE,
    )


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
