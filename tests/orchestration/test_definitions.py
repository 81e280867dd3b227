"""The code location as a whole, compared with a stored list: an asset that vanishes or moves fails here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.home import prepare_home
from orchestration.jobs import build_jobs
from orchestration.settings import load_settings

EXPECTED = Path(__file__).with_name("definitions.json")

_DESCRIBE = """
import json, sys
from orchestration.definitions import defs
graph = defs.resolve_asset_graph()
assets = {
    key.to_user_string(): [graph.get(key).group_name, graph.get(key).is_partitioned]
    for key in sorted(graph.get_all_asset_keys())
    if graph.get(key).is_executable
}
undescribed = [
    key.to_user_string()
    for key in graph.get_all_asset_keys()
    if graph.get(key).is_executable and not (graph.get(key).description and graph.get(key).owners)
]
strays = [key.to_user_string() for key in graph.get_all_asset_keys() if not graph.get(key).is_executable]
heavy = [name for name in ("torch", "transformers", "great_expectations", "mlflow", "faiss") if name in sys.modules]
print(json.dumps({
    "assets": assets,
    "jobs": sorted(job.name for job in defs.resolve_all_job_defs() if not job.name.startswith("__")),
    "schedules": sorted(schedule.name for schedule in defs.schedules),
    "sensors": sorted(sensor.name for sensor in defs.sensors),
    "running": sorted(each.name for each in [*defs.schedules, *defs.sensors] if each.default_status.value == "RUNNING"),
    "undescribed": undescribed,
    "strays": strays,
    "heavy": heavy,
}))
"""


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What a fresh process sees of the code location."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DAGSTER_HOME", "FRESHET_HOME", "FRESHET_LAKE_CATALOGUE", "FRESHET_LAKE_DATA_PATH"):
            patch.setenv(name, "")
        patch.setenv("FRESHET_PSEUDONYM_KEY", "")
        patch.setenv("FRESHET_MLFLOW_TRACKING_URI", "")
        prepare_home(load_settings(home=home))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FRESHET_")}
    finished = subprocess.run(
        [sys.executable, "-c", _DESCRIBE],
        env={**environment, "FRESHET_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(finished.stdout.splitlines()[-1]))


def test_assets_jobs_schedules_and_sensors_are_those_on_record(described: dict[str, object]) -> None:
    found = {name: described[name] for name in ("assets", "jobs", "running", "schedules", "sensors")}
    assert found == json.loads(EXPECTED.read_text())


def test_every_asset_says_what_it_is_and_who_owns_it(described: dict[str, object]) -> None:
    assert described["undescribed"] == []


def test_no_table_stands_outside_the_groups(described: dict[str, object]) -> None:
    assert described["strays"] == []


def test_loading_imports_nothing_heavy(described: dict[str, object]) -> None:
    assert described["heavy"] == []


def test_training_is_not_retried_and_what_waits_for_the_lock_is() -> None:
    retried = {name: job.op_retry_policy is not None for name, job in build_jobs().items()}
    assert retried.pop("retraining") is False
    assert all(retried.values())
