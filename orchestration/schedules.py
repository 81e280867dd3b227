"""Schedules of the jobs. Those that build are stopped until someone starts them in the UI; the one that checks runs."""

from datetime import timedelta

from dagster import (
    DefaultScheduleStatus,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    schedule,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from assets.lane_checks import is_nearline_used
from assets.resources import DomainResource, LakeResource


def daily_schedule(job: UnresolvedAssetJobDefinition) -> ScheduleDefinition:
    """At 02:00 UTC: build the day that has just ended."""

    @schedule(job=job, cron_schedule="0 2 * * *", execution_timezone="UTC", name="daily_refresh_at_two")
    def at_two(context: ScheduleEvaluationContext) -> RunRequest:
        """Run the partition of the day before the tick."""
        day = (context.scheduled_execution_time - timedelta(days=1)).date().isoformat()
        return RunRequest(run_key=day, partition_key=day)

    return at_two


def weekly_schedule(job: UnresolvedAssetJobDefinition) -> ScheduleDefinition:
    """On Sunday at 03:00 UTC, after the daily refresh."""
    return ScheduleDefinition(name="retraining_on_sunday", job=job, cron_schedule="0 3 * * 0", execution_timezone="UTC")


def hourly_schedule(job: UnresolvedAssetJobDefinition) -> ScheduleDefinition:
    """At half past each hour: lists follow availability and rules even when no event comes."""
    return ScheduleDefinition(
        name="top_k_refresh_hourly", job=job, cron_schedule="30 * * * *", execution_timezone="UTC"
    )


def nearline_checks_schedule(job: UnresolvedAssetJobDefinition) -> ScheduleDefinition:
    """At a quarter to each hour: how fresh the lists were, and whether both lanes still make the same."""

    @schedule(
        job=job,
        cron_schedule="45 * * * *",
        execution_timezone="UTC",
        name="nearline_checks_hourly",
        default_status=DefaultScheduleStatus.RUNNING,
    )
    def at_a_quarter_to(lake: LakeResource, domain: DomainResource) -> RunRequest | SkipReason:
        """Nothing is started where the nearline lane has made no list."""
        if not is_nearline_used(lake.lake, domain.domain):
            return SkipReason("the nearline lane has renewed no list, so there is nothing to check")
        return RunRequest()

    return at_a_quarter_to
