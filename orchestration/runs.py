"""One Dagster run of chosen assets in this process, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from dagster import AssetKey, DagsterEvent, DagsterEventType, DagsterInstance, Definitions

from assets.warehouse import BUILD_FROM_TAG
from orchestration.alert_delivery import build_notifier
from orchestration.alerts import alert_for_run
from orchestration.settings import Settings

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"

LONGEST_RANGE = 400
"""Days of one run that Dagster records. It plans each check for each day on its own, which would take a quarter of an
hour for a first load of twelve years."""


@dataclass(frozen=True)
class GroupRun:
    """Outcome of a run."""

    run_id: str
    is_ok: bool
    seconds: dict[str, float]
    """Seconds by asset that was materialised."""

    failures: dict[str, str]
    """By asset: the check or error that ended the run."""


def run_group(
    definitions: Definitions,
    instance: DagsterInstance,
    settings: Settings,
    *,
    group: str,
    assets: Sequence[AssetKey],
    window: tuple[date, date] | None,
) -> GroupRun:
    """Materialise assets with their checks in one run, in this process.

    Args:
        definitions: The code location.
        instance: Where the run is recorded.
        settings: For the tags.
        group: Named in the tags and in the job's name.
        assets: What to materialise.
        window: Range of daily partitions, end exclusive, for partitioned assets.
    """
    tags = {"freshet/group": group, "freshet/domain": settings.domain}
    if window is not None:
        tags |= range_tags(*window)
    job = definitions.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(asset_selection=list(assets), instance=instance, tags=tags, raise_on_error=False)
    alert_for_run(instance, result.dagster_run, build_notifier(settings))
    return GroupRun(result.run_id, result.success, _seconds(result.all_events), _failures(result.all_events))


def range_tags(first: date, end: date) -> dict[str, str]:
    """Tags of a run that builds the days from `first` to before `end`.

    The latest `LONGEST_RANGE` days are recorded one by one; the days before them are built with them.
    """
    recorded = max(first, end - timedelta(days=LONGEST_RANGE))
    tags = {RANGE_START: recorded.isoformat(), RANGE_END: (end - timedelta(days=1)).isoformat()}
    return tags if recorded == first else {**tags, BUILD_FROM_TAG: first.isoformat()}


def _seconds(events: Sequence[DagsterEvent]) -> dict[str, float]:
    """Seconds by materialised asset; assets of one step share its time evenly."""
    by_step: dict[str, list[str]] = {}
    for event in events:
        if event.event_type == DagsterEventType.ASSET_MATERIALIZATION and event.asset_key and event.step_key:
            names = by_step.setdefault(event.step_key, [])
            name = event.asset_key.to_user_string()
            # A range of partitions is one event for each of them.
            if name not in names:
                names.append(name)
    seconds: dict[str, float] = {}
    for event in events:
        if event.event_type == DagsterEventType.STEP_SUCCESS and event.step_key in by_step:
            names = by_step[event.step_key]
            seconds |= {name: event.step_success_data.duration_ms / 1000 / len(names) for name in names}
    return seconds


def _failures(events: Sequence[DagsterEvent]) -> dict[str, str]:
    """By asset or step: the blocking check that failed, or the error that ended it."""
    failures: dict[str, str] = {}
    for event in events:
        if event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed and check.blocking:
                name = check.asset_key.to_user_string()
                failures[name] = f"{failures[name]}, {check.check_name}" if name in failures else check.check_name
        elif event.event_type == DagsterEventType.STEP_FAILURE and event.step_key:
            error = event.step_failure_data.error
            cause = error.cause if error and error.cause else error
            failures.setdefault(event.step_key, cause.message.strip() if cause else "failed")
    return failures
