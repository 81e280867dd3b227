"""What turns the end of a run into an alert: a sensor for failure, one for success with warnings, one function.

A failed blocking check fails its run; a failed warning does not, hence the second sensor. Runs inside one process,
such as those of the command line, have no daemon: they call `alert_for_run` themselves.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    DefaultSensorStatus,
    EventLogRecord,
    ResourceParam,
    RunFailureSensorContext,
    RunStatusSensorContext,
    SensorDefinition,
    run_failure_sensor,
    run_status_sensor,
)

from assets.check_results import COUNT, NEXT_STEP, SAMPLE, UNIT
from assets.notifier import Alert, Notifier, RunAlert
from models.errors import ConfigurationError

MATERIALISATION = "materialisation"
"""Rule of an alert that no check raised: a step failed."""

_HISTORY = 100
"""Most past evaluations of a check that are searched for the begin of its failing."""

_LONGEST_ERROR = 500


@run_failure_sensor(
    name="alert_on_failure", default_status=DefaultSensorStatus.RUNNING, monitor_all_code_locations=True
)
def alert_on_failure(context: RunFailureSensorContext, notifier: ResourceParam[Notifier]) -> None:
    """One alert per failed run: the checks that blocked it and the steps that broke."""
    _alert_or_raise(context, notifier)


@run_status_sensor(
    run_status=DagsterRunStatus.SUCCESS,
    name="alert_on_warning",
    default_status=DefaultSensorStatus.RUNNING,
    monitor_all_code_locations=True,
)
def alert_on_warning(context: RunStatusSensorContext, notifier: ResourceParam[Notifier]) -> None:
    """One alert per successful run in which a check warned."""
    _alert_or_raise(context, notifier)


ALERT_SENSORS: tuple[SensorDefinition, ...] = (alert_on_failure, alert_on_warning)


def alert_for_run(instance: DagsterInstance, run: DagsterRun, notifier: Notifier) -> RunAlert | None:
    """Raise the alert of a finished run, if anything in it failed or warned.

    Args:
        instance: Where the run's events are.
        run: A finished run; its status is read anew.
        notifier: Delivers; a second call for the same run delivers nothing. An address that refuses is logged and
            does not fail the caller.

    Returns:
        The alert, delivered now or before; None where all was well.
    """
    alert = run_alert(instance, run, notifier.ui_url)
    if alert is not None:
        notifier.send(alert)
    return alert


def _alert_or_raise(context: RunStatusSensorContext, notifier: Notifier) -> None:
    """Deliver, or make the sensor's tick red: nobody reads the log of a daemon."""
    alert = run_alert(context.instance, context.dagster_run, notifier.ui_url)
    if alert is not None and notifier.send(alert) == "refused":
        raise ConfigurationError(
            f"an alert address did not take the alert of run {context.dagster_run.run_id}; it is in {notifier.file}. "
            "Check FRESHET_ALERT_URLS and that the service answers"
        )


def run_alert(instance: DagsterInstance, run: DagsterRun, ui_url: str) -> RunAlert | None:
    """What went wrong in a finished run, as one alert; None where all was well."""
    record = instance.get_run_record_by_id(run.run_id)
    is_failed = record is not None and record.dagster_run.status == DagsterRunStatus.FAILURE
    ended = record.end_time if record and record.end_time else 0.0
    link = f"{ui_url.rstrip('/')}/runs/{run.run_id}"
    alerts = [_check_alert(instance, evaluation, when, ui_url) for evaluation, when in _failed_checks(instance, run)]
    if is_failed:
        alerts += _step_alerts(instance, run, link, has_failed_check=any(a.severity == "error" for a in alerts))
    if not alerts:
        return None
    blocked = _unbuilt(instance, run) if is_failed else ()
    return RunAlert(run.run_id, run.job_name, _time(ended), link, tuple(alerts), blocked)


def _events(instance: DagsterInstance, run: DagsterRun, type_: DagsterEventType) -> Iterator[EventLogRecord]:
    cursor, has_more = None, True
    while has_more:
        page = instance.get_records_for_run(run.run_id, cursor=cursor, of_type=type_)
        yield from page.records
        cursor, has_more = page.cursor, page.has_more


def _failed_checks(instance: DagsterInstance, run: DagsterRun) -> list[tuple[AssetCheckEvaluation, float]]:
    """The last evaluation of each check of the run, where it did not pass, with its time."""
    latest: dict[Any, tuple[AssetCheckEvaluation, float]] = {}
    for record in _events(instance, run, DagsterEventType.ASSET_CHECK_EVALUATION):
        event = record.event_log_entry.dagster_event
        if event is not None and isinstance(event.event_specific_data, AssetCheckEvaluation):
            evaluation = event.event_specific_data
            latest[evaluation.asset_check_key] = (evaluation, record.timestamp)
    return [(evaluation, when) for evaluation, when in latest.values() if not evaluation.passed]


def _check_alert(instance: DagsterInstance, evaluation: AssetCheckEvaluation, when: float, ui_url: str) -> Alert:
    metadata = {name: value.value for name, value in evaluation.metadata.items()}
    asset = evaluation.asset_key.to_user_string()
    severity: Literal["error", "warning"] = "error" if evaluation.severity == AssetCheckSeverity.ERROR else "warning"
    count, sample, next_step = metadata.get(COUNT), metadata.get(SAMPLE), metadata.get(NEXT_STEP)
    return Alert(
        asset=asset,
        rule=evaluation.check_name,
        severity=severity,
        count=float(count) if isinstance(count, int | float) else 0.0,
        says=evaluation.description or "",
        samples=tuple(str(value) for value in sample) if isinstance(sample, list) else (),
        since=_time(_failing_since(instance, evaluation, when)),
        link=f"{ui_url.rstrip('/')}/assets/{asset}?view=checks&checkDetail={evaluation.check_name}",
        next_step=str(next_step) if next_step else "open the check's page and look at its metadata",
        unit=str(metadata.get(UNIT, "rows")),
    )


def _failing_since(instance: DagsterInstance, evaluation: AssetCheckEvaluation, when: float) -> float:
    """Time of the first evaluation since the check last passed."""
    since = when
    history = instance.event_log_storage.get_asset_check_execution_history(evaluation.asset_check_key, limit=_HISTORY)
    for record in history:  # newest first
        evaluated = record.event.timestamp if record.event else when
        if record.status.value == "SUCCEEDED" and evaluated < when:
            break
        if record.status.value == "FAILED":
            since = min(since, evaluated)
    return since


def _step_alerts(instance: DagsterInstance, run: DagsterRun, link: str, *, has_failed_check: bool) -> list[Alert]:
    """Alerts of steps that broke; a step that failed because of its own blocking check is told by that check."""
    alerts = []
    for record in _events(instance, run, DagsterEventType.STEP_FAILURE):
        event = record.event_log_entry.dagster_event
        error = event.step_failure_data.error if event else None
        if event is None or (has_failed_check and error is not None and "AssetCheckFailed" in str(error.cls_name)):
            continue
        cause = error.cause if error and error.cause else error
        says = " ".join(cause.message.split())[:_LONGEST_ERROR] if cause else "the step failed without an error"
        alerts.append(_broken(str(event.step_key), says, record.timestamp, link))
    if not alerts and not has_failed_check:
        failures = list(_events(instance, run, DagsterEventType.RUN_FAILURE))
        says = failures[-1].event_log_entry.user_message if failures else "the run failed"
        alerts.append(_broken(run.job_name, says[:_LONGEST_ERROR], failures[-1].timestamp if failures else 0.0, link))
    return alerts


def _broken(asset: str, says: str, when: float, link: str) -> Alert:
    next_step = "read the error on the run's page, mend the cause, then re-execute the run from its failure"
    return Alert(asset, MATERIALISATION, "error", 1, says, (), _time(when), link, next_step, unit="step")


def _unbuilt(instance: DagsterInstance, run: DagsterRun) -> tuple[str, ...]:
    planned = _assets(instance, run, DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
    built = _assets(instance, run, DagsterEventType.ASSET_MATERIALIZATION)
    return tuple(sorted(set(planned) - set(built)))


def _assets(instance: DagsterInstance, run: DagsterRun, type_: DagsterEventType) -> list[str]:
    keys = (record.asset_key for record in _events(instance, run, type_))
    return [key.to_user_string() for key in keys if key is not None]


def _time(second: float) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat(timespec="milliseconds")
