"""Runs of the nearline lane start at once; all others wait in Dagster's queue, marked as the batch lane's."""

from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.run_coordinator.base import SubmitRunContext
from dagster._core.test_utils import create_run_for_test

from orchestration.home import dagster_config
from orchestration.run_coordination import LANE, LaneRunCoordinator
from orchestration.settings import load_settings


@pytest.mark.parametrize(
    ("tags", "status", "lane"),
    [({}, "QUEUED", "batch"), ({LANE: "nearline"}, "STARTING", "nearline")],
)
def test_only_the_batch_lane_queues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tags: dict[str, str], status: str, lane: str
) -> None:
    config = dagster_config(load_settings(home=tmp_path))
    # Dagster's own launcher for tests, which records what it is asked to start.
    config["run_launcher"] = {"module": "dagster._core.test_utils", "class": "MockedRunLauncher"}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.run_coordinator, LaneRunCoordinator)
        origin = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("somewhere"), "repository").get_job_origin("any")
        run = create_run_for_test(
            instance, job_name="any", status=dg.DagsterRunStatus.NOT_STARTED, tags=tags, remote_job_origin=origin
        )
        submitted = instance.run_coordinator.submit_run(SubmitRunContext(run, workspace=None))  # type: ignore[arg-type]
        stored = instance.get_run_by_id(run.run_id)
        assert stored is not None
        launched = [one.run_id for one in instance.run_launcher.queue()]  # type: ignore[attr-defined]
        assert launched == ([run.run_id] if lane == "nearline" else [])
        assert submitted.run_id == run.run_id
        assert (stored.status.value, stored.tags[LANE]) == (status, lane)
        limits = instance.get_concurrency_config().run_queue_config
        assert limits is not None
        assert limits.max_concurrent_runs == 2
