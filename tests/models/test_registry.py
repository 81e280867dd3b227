"""The MLflow edge, on an SQLite store of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import pyfunc

from models.encoder_weights import content_version
from models.errors import RegistryError
from models.registry import CONTENT_VERSION, FINGERPRINT, RegisteredVersion, Registry, RegistryRun

EXAMPLE = pd.DataFrame({"text": ["red lipstick"]})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
def registry(home: Path) -> Registry:
    return Registry(f"sqlite:///{home}/mlflow.db", str(home / "artifacts"))


def _register(registry: Registry, run: RegistryRun, name: str, folder: Path) -> RegisteredVersion:
    return registry.register(
        name,
        folder,
        run=run,
        content_version=content_version(folder),
        loader_module="models.language_model",
        input_example=EXAMPLE,
        output_example=np.zeros((1, 16), dtype=np.float32),
        tags={FINGERPRINT: "f"},
    )


def test_run_holds_parameters_curve_and_artifacts(registry: Registry) -> None:
    with registry.run("e", "first", fingerprint="f", tags={"device": "cpu"}) as run:
        run.log_parameters({"steps": 3})
        run.log_curve([(1, {"loss": 2.0}), (2, {"loss": 1.5})])
        run.log_text("hello", "note.txt")
    stored = registry.client.get_run(run.run_id)
    assert stored.info.status == "FINISHED"
    assert stored.data.params == {"steps": "3"}
    assert stored.data.tags["device"] == "cpu"
    history = registry.client.get_metric_history(run.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(1, 2.0), (2, 1.5)]
    assert [entry.path for entry in registry.client.list_artifacts(run.run_id)] == ["note.txt"]


def test_error_ends_the_run_as_failed(registry: Registry) -> None:
    with pytest.raises(KeyError), registry.run("e", "broken", fingerprint="f") as run:
        raise KeyError("x")
    assert registry.client.get_run(run.run_id).info.status == "FAILED"


def test_registered_encoder_loads_and_encodes(registry: Registry, tiny_encoder: Path) -> None:
    with registry.run("e", "r", fingerprint="f") as run:
        made = _register(registry, run, "encoder", tiny_encoder)
    assert (made.version, made.aliases) == (1, ("challenger",))
    assert made.tags[CONTENT_VERSION] == content_version(tiny_encoder)
    loaded = pyfunc.load_model(made.location)
    assert loaded.predict(EXAMPLE).shape == (1, 16)
    assert not list(Path(made.location).rglob("*.pkl"))


def test_same_content_is_registered_once(registry: Registry, tiny_encoder: Path) -> None:
    for _ in range(2):
        with registry.run("e", "r", fingerprint="f") as run:
            _register(registry, run, "once", tiny_encoder)
    assert [known.version for known in registry.list_versions("once")] == [1]


def test_aliases_move(registry: Registry, tiny_encoder: Path, tiny_decoder: Path) -> None:
    with registry.run("e", "r", fingerprint="f") as run:
        first = _register(registry, run, "moving", tiny_encoder)
        registry.promote("moving", first.version)
        second = _register(registry, run, "moving", tiny_decoder)
    assert registry.resolve("moving", "champion").version == first.version == 1
    assert registry.resolve("moving", "challenger").version == second.version == 2
    found = registry.find("moving", CONTENT_VERSION, content_version(tiny_encoder))
    assert found is not None
    assert found.version == 1


def test_unknown_names_are_explained(registry: Registry) -> None:
    with pytest.raises(RegistryError, match=r"no model 'nothing' with the alias 'champion'"):
        registry.resolve("nothing")
    with pytest.raises(RegistryError, match=r"'nothing' has no version 7"):
        registry.promote("nothing", 7)
    assert registry.list_versions("nothing") == []


def test_file_store_is_refused() -> None:
    with pytest.raises(RegistryError, match="use sqlite:///"):
        Registry("file:./mlruns")


_KILLED = """
import os, signal, sys
from models.registry import Registry
registry = Registry(sys.argv[1], sys.argv[2])
with registry.run("crash", "killed", fingerprint="f") as run:
    run.log_text("half", "model/half.txt")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_run_is_ended_and_its_model_files_removed(registry: Registry, home: Path) -> None:
    arguments = [f"sqlite:///{home}/mlflow.db", str(home / "artifacts")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run([sys.executable, "-c", _KILLED, *arguments], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    with registry.run("crash", "next", fingerprint="f"):
        pass
    experiment = registry.client.get_experiment_by_name("crash")
    assert experiment is not None
    runs = registry.client.search_runs([experiment.experiment_id])
    assert sorted(run.info.status for run in runs) == ["FINISHED", "KILLED"]
    assert list((home / "artifacts" / "crash").rglob("half.txt")) == []
