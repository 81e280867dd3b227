"""Checkpoints: exact, atomic, bound to what is trained."""

from pathlib import Path

import pytest
import torch

from models.checkpoints import CheckpointFolder, optimizer_tensors, restore_optimizer
from models.errors import WeightsError


def _step(module: torch.nn.Linear, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()


def test_tensors_and_floats_come_back_exactly(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, "a")
    folder.save(3, {"w": torch.tensor([0.1, 1 / 3])}, {"best": 0.1 + 0.2})
    latest = folder.latest()
    assert latest is not None
    assert (latest.step, latest.state) == (3, {"best": 0.1 + 0.2})
    assert torch.equal(latest.tensors["w"], torch.tensor([0.1, 1 / 3]))


def test_only_the_latest_is_kept(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, "a")
    folder.save(1, {}, {})
    folder.save(2, {}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]


def test_another_fingerprint_is_removed_and_not_resumed(tmp_path: Path) -> None:
    CheckpointFolder(tmp_path, "a").save(1, {}, {})
    assert CheckpointFolder(tmp_path, "b").latest() is None
    assert list(tmp_path.iterdir()) == []


def test_half_written_checkpoint_is_ignored_and_removed(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, "a")
    folder.save(1, {}, {})
    (tmp_path / ".partial-00000002").mkdir()
    latest = folder.latest()
    assert latest is not None
    assert latest.step == 1
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_damaged_checkpoint_says_what_to_delete(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, "a")
    (folder.save(1, {}, {}) / "tensors.safetensors").write_bytes(b"rubbish")
    with pytest.raises(WeightsError, match=r"step-00000001.*delete that folder"):
        folder.latest()


def test_restored_optimizer_continues_identically(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 1)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    _step(module, optimizer)
    folder = CheckpointFolder(tmp_path, "a")
    folder.save(1, {"weight": module.weight, "bias": module.bias, **optimizer_tensors(optimizer)}, {})
    _step(module, optimizer)

    latest = folder.latest()
    assert latest is not None
    resumed = torch.nn.Linear(3, 1)
    resumed.load_state_dict({name: latest.tensors[name] for name in ("weight", "bias")})
    again = torch.optim.AdamW(resumed.parameters(), lr=0.1)
    restore_optimizer(again, latest.tensors)
    _step(resumed, again)
    assert torch.equal(resumed.weight, module.weight)
