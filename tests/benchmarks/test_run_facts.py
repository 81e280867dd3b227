"""What every results file says of its run."""

import importlib
import json
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def run_facts() -> ModuleType:
    return importlib.import_module("run_facts")


def test_machine_is_described_without_names(run_facts: ModuleType) -> None:
    facts = run_facts.machine()
    assert set(facts) == {"cpu", "vectors", "float64_gflops", "cores", "memory_gib", "os", "python", "accelerator"}
    assert facts["float64_gflops"] > 0
    assert facts["cores"] >= 1


def test_command_hides_folders(run_facts: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/benchmarks/accuracy.py", "--data", "/home/someone/beauty"])
    assert run_facts.command() == "python benchmarks/accuracy.py --data beauty"


def test_results_say_how_they_were_made(run_facts: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "kind" / "dataset.json"
    run_facts.write_results(file, {"rows": [1, 2]}, begun=time.perf_counter() - 60)
    stored = json.loads(file.read_text())
    assert stored["rows"] == [1, 2]
    assert 60 <= stored["seconds"] < 90
    assert set(stored) == {"rows", "seconds", "peak_memory_gib", "machine", "versions", "command"}
