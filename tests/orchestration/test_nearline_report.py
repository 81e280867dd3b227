"""Reports of nearline batches, written into Dagster's storage from a process of their own."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance

from assets.batch_report import BatchReport
from assets.nearline_commit import RowCounts
from orchestration.nearline_metrics import NearlineMetrics
from orchestration.nearline_report import ReportProcess, ReportThread


@pytest.fixture
def dagster_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of Dagster with its default storages."""
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def metrics() -> Iterator[NearlineMetrics]:
    """Metrics of one worker."""
    return NearlineMetrics()


def _report(snapshot: int) -> BatchReport:
    at = datetime(2026, 11, 1)
    return BatchReport("landing", RowCounts(3, 2, 1, 0), 2, snapshot, "m", "i", at, at, (1.0, 2.0), (0.5, 0.7))


def _snapshots(asset: str) -> list[object]:
    """Snapshots of an asset's materialisations, oldest first."""
    with DagsterInstance.get() as instance:
        records = instance.fetch_materializations(AssetKey(asset), limit=100).records
    made = [record.asset_materialization for record in records]
    return [one.metadata["snapshot"].value for one in reversed(made) if one is not None]


def _errors(metrics: NearlineMetrics) -> float:
    return metrics.registry.get_sample_value("freshet_nearline_errors_total", {"kind": "ReportError"}) or 0.0


@pytest.mark.usefixtures("dagster_home")
def test_each_batch_is_a_materialisation_of_lists_and_events_in_order(metrics: NearlineMetrics) -> None:
    with closing(ReportProcess(metrics)) as write, ReportThread(write) as report:
        for snapshot in range(5):
            report(_report(snapshot))
    assert _snapshots("top_k") == _snapshots("raw_events") == list(range(5))
    assert _errors(metrics) == 0


@pytest.mark.usefixtures("dagster_home")
def test_a_writer_that_was_killed_is_started_again(metrics: NearlineMetrics) -> None:
    with closing(ReportProcess(metrics)) as write:
        write(_report(1))
        os.kill(write.process_id, signal.SIGKILL)
        write(_report(2))
    assert _snapshots("top_k") == [1, 2]
    assert _errors(metrics) == 0


def test_a_storage_that_refuses_is_counted_and_the_next_report_is_tried(
    dagster_home: Path, metrics: NearlineMetrics
) -> None:
    with closing(ReportProcess(metrics)) as write:
        write(_report(1))
        files = sorted(dagster_home.glob("history/*/*.db"))
        assert files
        for file in files:
            file.rename(file.with_suffix(".away"))
            file.mkdir()
        write(_report(2))
        assert _errors(metrics) == 2  # one for the lists, one for the events
        for file in files:
            file.rmdir()
            file.with_suffix(".away").rename(file)
        write(_report(3))
    assert _snapshots("top_k") == [1, 3]
