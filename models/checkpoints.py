"""Checkpoints that survive a kill at any moment: safetensors and JSON, never pickled objects.

A checkpoint is a folder `step-00000060` with `tensors.safetensors` (parameters, optimiser moments, anything else the
caller wants) and `state.json`. It is written beside its final name and renamed, so a reader sees it whole or not at
all. It belongs to a fingerprint of what is trained; one with another fingerprint is never resumed from.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from models.errors import WeightsError

_PARTIAL = ".partial-"


@dataclass(frozen=True)
class Checkpoint:
    """What was stored after `step` optimiser steps."""

    step: int
    tensors: dict[str, torch.Tensor]
    state: dict[str, Any]


@dataclass(frozen=True)
class CheckpointFolder:
    """The checkpoints of one training run; only the latest is kept."""

    path: Path
    fingerprint: str
    """Hash of data, configuration, base weights and seed: a change of any of them starts from the beginning."""

    def save(self, step: int, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> Path:
        """Store a checkpoint atomically and remove the older ones.

        Args:
            step: Optimiser steps taken so far.
            tensors: Named tensors; names are free, shapes and types are kept exactly.
            state: Anything that JSON can hold. Floats come back bit for bit.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        final, partial = self.path / f"step-{step:08d}", self.path / f"{_PARTIAL}{step:08d}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        on_cpu = {name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in tensors.items()}
        save_file(on_cpu, partial / "tensors.safetensors")
        facts = {"fingerprint": self.fingerprint, "step": step, "state": dict(state)}
        (partial / "state.json").write_text(json.dumps(facts))
        for written in (*partial.iterdir(), partial):
            _flush(written)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        _flush(self.path)
        self._remove_all_but(final)
        return final

    def latest(self) -> Checkpoint | None:
        """The latest checkpoint of this fingerprint, or None; leftovers of other runs and of kills are removed.

        Raises:
            WeightsError: the checkpoint's files are damaged.
        """
        folders = sorted(self.path.glob("step-*"), reverse=True)
        for folder in folders:
            checkpoint = self._read(folder)
            if checkpoint is not None:
                self._remove_all_but(folder)
                return checkpoint
        self._remove_all_but(None)
        return None

    def clear(self) -> None:
        """Remove every checkpoint; called once the result is stored elsewhere."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _read(self, folder: Path) -> Checkpoint | None:
        try:
            facts = json.loads((folder / "state.json").read_text())
            if facts["fingerprint"] != self.fingerprint:
                return None
            tensors = load_file(folder / "tensors.safetensors")
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise WeightsError(f"checkpoint {folder} is damaged ({error}); delete that folder and run again") from error
        return Checkpoint(step=facts["step"], tensors=tensors, state=facts["state"])

    def _remove_all_but(self, kept: Path | None) -> None:
        for pattern in ("step-*", f"{_PARTIAL}*"):
            for folder in self.path.glob(pattern):
                if folder != kept:
                    shutil.rmtree(folder, ignore_errors=True)


def optimizer_tensors(optimizer: torch.optim.Optimizer, prefix: str = "optimizer.") -> dict[str, torch.Tensor]:
    """The optimiser's moments as named tensors, to go into `CheckpointFolder.save`."""
    state = optimizer.state_dict()["state"]
    return {f"{prefix}{index}.{name}": tensor for index, slots in state.items() for name, tensor in slots.items()}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor], prefix: str = "optimizer."
) -> None:
    """Put moments from `optimizer_tensors` back; learning rates and other options stay as the optimiser has them."""
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(prefix):
            index, slot = name.removeprefix(prefix).split(".", 1)
            slots.setdefault(int(index), {})[slot] = tensor
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})


def random_state() -> torch.Tensor:
    """State of torch's CPU generator, as a tensor of bytes that a checkpoint can hold."""
    return torch.get_rng_state()


def restore_random_state(state: torch.Tensor) -> None:
    """Continue torch's CPU generator from a state that `random_state` returned."""
    torch.set_rng_state(state)


def _flush(path: Path) -> None:
    """Force a file or folder to disk, so that the rename never outruns the content."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
