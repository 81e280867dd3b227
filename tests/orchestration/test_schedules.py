"""The hourly checks of the nearline lane start by themselves, where that lane has made lists."""

from datetime import UTC, datetime

import pandas as pd
from dagster import DefaultScheduleStatus, RunRequest, SkipReason, build_schedule_context

from assets.domain import load_domain
from assets.lake import Lake, append_frame
from assets.resources import DomainResource, LakeResource
from models.schema import LIST_FRESHNESS
from orchestration.jobs import build_jobs
from orchestration.schedules import daily_schedule, hourly_schedule, nearline_checks_schedule, weekly_schedule

HOUR = datetime(2026, 1, 4, 9, 45, tzinfo=UTC)


def _tick(lake: Lake) -> object:
    resources = {
        "lake": LakeResource(catalogue=lake.catalogue, data_path=str(lake.data_path), lock_path=str(lake.lock_path)),
        "domain": DomainResource(name="shop"),
    }
    context = build_schedule_context(scheduled_execution_time=HOUR, resources=resources)
    return nearline_checks_schedule(build_jobs()["nearline_checks"])(context)


def _renew_a_list(lake: Lake, surface: str) -> None:
    moment = datetime(2026, 1, 4, 9)
    row = {"surface": surface, "user_id": "u", "source": "landing", "events": 1, "committed_at": moment}
    frame = pd.DataFrame([row | {"event_at": moment, "arrived_at": moment}])
    lake.write(lambda connection: append_frame(connection, LIST_FRESHNESS, frame), message="a list")


def test_the_checks_of_a_lane_that_is_not_used_are_left_out(lake: Lake) -> None:
    assert isinstance(_tick(lake), SkipReason)
    _renew_a_list(lake, "elsewhere")
    assert isinstance(_tick(lake), SkipReason)


def test_the_checks_run_once_the_lane_has_renewed_a_list(lake: Lake) -> None:
    _renew_a_list(lake, load_domain("shop").surface)
    assert isinstance(_tick(lake), RunRequest)


def test_what_checks_runs_by_itself_and_what_builds_does_not() -> None:
    jobs = build_jobs()
    assert nearline_checks_schedule(jobs["nearline_checks"]).default_status == DefaultScheduleStatus.RUNNING
    building = [
        daily_schedule(jobs["daily_refresh"]),
        weekly_schedule(jobs["retraining"]),
        hourly_schedule(jobs["top_k_refresh"]),
    ]
    assert {schedule.default_status for schedule in building} == {DefaultScheduleStatus.STOPPED}
