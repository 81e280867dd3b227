import os
import time
from datetime import date
from pathlib import Path
from typing import Any

from dagster import DagsterInstance, DagsterRunStatus, RunRequest, SensorResult, SkipReason, build_sensor_context
from dagster._core.test_utils import create_run_for_test

from assets.lake import Lake
from assets.lease import NEARLINE, SECONDS, Lease, nearline_lease
from assets.resources import LakeResource, LandingResource
from orchestration.jobs import build_jobs
from orchestration.runs import RANGE_END, RANGE_START
from orchestration.sensors import landing_listing, landing_sensor, touched_users_sensor

LONG_AGO = 1_700_000_000


def _land(landing: Path, name: str, text: str, modified: int = LONG_AGO) -> None:
    file = landing / "events" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    os.utime(file, (modified, modified))


def _tick(landing: Path, cursor: str | None = None, settle_seconds: float = 2.0) -> object:
    sensor = landing_sensor(build_jobs()["landing_ingestion"])
    resource = LandingResource(path=str(landing), pseudonym_key="key", settle_seconds=settle_seconds)
    lake = LakeResource(catalogue="", data_path=str(landing / "data"), lock_path=str(landing / "write.lock"))
    return sensor(build_sensor_context(cursor=cursor), lake=lake, landing=resource)


def test_an_empty_landing_zone_starts_nothing(tmp_path: Path) -> None:
    assert isinstance(_tick(tmp_path), SkipReason)


def test_a_new_file_starts_one_ingestion_and_the_next_tick_none(tmp_path: Path) -> None:
    _land(tmp_path, "one.csv", "a")
    first = _tick(tmp_path)
    assert isinstance(first, SensorResult)
    assert first.run_requests is not None
    assert [request.run_key for request in first.run_requests] == [first.cursor]
    assert isinstance(_tick(tmp_path, first.cursor), SkipReason)


def test_a_file_that_is_still_written_waits_without_moving_the_cursor(tmp_path: Path) -> None:
    _land(tmp_path, "one.csv", "a", modified=4_000_000_000)
    assert isinstance(_tick(tmp_path), SkipReason)


def test_the_cursor_follows_names_sizes_and_times(tmp_path: Path) -> None:
    _land(tmp_path, "one.csv", "a")
    cursors = [landing_listing(tmp_path).cursor]
    _land(tmp_path, "one.csv", "ab")
    cursors.append(landing_listing(tmp_path).cursor)
    _land(tmp_path, "two.csv", "b")
    cursors.append(landing_listing(tmp_path).cursor)
    assert len(set(cursors)) == 3
    _land(tmp_path, ".two.csv.tmp", "unfinished")
    assert landing_listing(tmp_path).cursor == cursors[-1]


def test_files_may_go_while_they_are_listed(tmp_path: Path, repeating: Any) -> None:
    _land(tmp_path, "kept.csv", "a")
    cursor = landing_listing(tmp_path).cursor

    def come_and_go(_: int) -> None:
        for number in range(20):
            _land(tmp_path, f"{number}.csv", "a")
        for number in range(20):
            (tmp_path / "events" / f"{number}.csv").unlink()

    with repeating(come_and_go):
        listings = [landing_listing(tmp_path) for _ in range(200)]
    assert all("events/kept.csv" in listing.names for listing in listings)
    assert landing_listing(tmp_path).cursor == cursor


def test_events_are_left_to_a_nearline_worker_and_items_are_not(tmp_path: Path) -> None:
    lease = Lease(tmp_path / "nearline_lease.sqlite", NEARLINE, SECONDS)
    term = lease.take(time.time())
    assert term is not None
    _land(tmp_path, "one.csv", "a")
    assert isinstance(_tick(tmp_path), SkipReason)
    (tmp_path / "items").mkdir()
    (tmp_path / "items" / "one.csv").write_text("a")
    os.utime(tmp_path / "items" / "one.csv", (LONG_AGO, LONG_AGO))
    assert isinstance(_tick(tmp_path), SensorResult)
    lease.give_up(term)
    (tmp_path / "items" / "one.csv").unlink()
    assert isinstance(_tick(tmp_path), SensorResult)


def test_days_wait_for_the_schedule_while_a_nearline_worker_leads(lake: Lake) -> None:
    _mark(lake, (date(2026, 1, 1), 2))
    term = nearline_lease(lake).take(time.time())
    assert term is not None
    assert isinstance(_days_tick(lake, DagsterInstance.ephemeral()), SkipReason)
    nearline_lease(lake).give_up(term)
    assert isinstance(_days_tick(lake, DagsterInstance.ephemeral()), RunRequest)


def _days_tick(lake: Lake, instance: DagsterInstance) -> object:
    sensor = touched_users_sensor(build_jobs()["touched_refresh"])
    resource = LakeResource(catalogue=lake.catalogue, data_path=str(lake.data_path), lock_path=str(lake.lock_path))
    return sensor(build_sensor_context(instance=instance), lake=resource)


def _mark(lake: Lake, *rows: tuple[date, int]) -> None:
    sql = "INSERT INTO ops.pending_days VALUES (?, ?)"
    lake.write(lambda connection: connection.executemany(sql, list(rows)), message="days")


def test_days_with_new_events_become_the_range_of_one_run(lake: Lake) -> None:
    instance = DagsterInstance.ephemeral()
    assert isinstance(_days_tick(lake, instance), SkipReason)
    _mark(lake, (date(2026, 1, 3), 5), (date(2026, 1, 1), 2))
    first = _days_tick(lake, instance)
    lake.write(lambda connection: connection.execute("CREATE TABLE raw.other (x INT)"), message="another table")
    again = _days_tick(lake, instance)
    assert isinstance(first, RunRequest)
    assert isinstance(again, RunRequest)
    assert (first.tags[RANGE_START], first.tags[RANGE_END]) == ("2026-01-01", "2026-01-03")
    assert first.run_key == again.run_key
    # The job's own configuration does not reach a run that a sensor asks for.
    assert first.run_config["ops"] == {"top_k": {"config": {"scope": "touched"}}}


def test_days_wait_for_the_ingestion_that_still_adds_to_them(lake: Lake) -> None:
    instance = DagsterInstance.ephemeral()
    _mark(lake, (date(2026, 1, 1), 2))
    at_work = create_run_for_test(
        instance,
        job_name="landing_ingestion",
        status=DagsterRunStatus.STARTED,
        tags={"freshet/job": "landing_ingestion"},
    )
    waits = _days_tick(lake, instance)
    assert isinstance(waits, SkipReason)
    assert "at work" in str(waits.skip_message)
    instance.delete_run(at_work.run_id)
    assert isinstance(_days_tick(lake, instance), RunRequest)
