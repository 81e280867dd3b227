"""Sensors: files that land are ingested, and days with new events renew the lists of the users they touch."""

import hashlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dagster import (
    DagsterRunStatus,
    DefaultSensorStatus,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from assets.landing_zone import LandingZone
from assets.lease import nearline_lease
from assets.pending_days import pending_days
from assets.resources import LakeResource, LandingResource
from orchestration.jobs import TOUCHED
from orchestration.runs import RANGE_END, RANGE_START
from quality.landing_columns import KINDS

INTERVAL_SECONDS = 5
"""Dagster does not tick more often."""

_UNFINISHED = (
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
)
_CHANGES_DAYS = ("landing_ingestion", "daily_refresh", "touched_refresh")
"""Jobs that add to the days with new events or build them."""


def landing_sensor(job: UnresolvedAssetJobDefinition) -> SensorDefinition:
    """Start an ingestion once the files in the landing zone differ from those of the last tick and have settled."""

    @sensor(
        name="landing_zone_files",
        job=job,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.STOPPED,
    )
    def files(
        context: SensorEvaluationContext, lake: LakeResource, landing: LandingResource
    ) -> SensorResult | SkipReason:
        """The cursor is a hash over names, sizes and times of all files that are not left to the nearline worker."""
        leads = nearline_lease(lake.lake).leader(time.time()) is not None
        listing = landing_listing(Path(landing.path), events_above=landing.nearline_max_bytes if leads else 0)
        if not listing.names:
            return SkipReason("the landing zone is empty")
        if listing.cursor == context.cursor:
            return SkipReason("no new files")
        age = datetime.now(UTC).timestamp() - listing.modified_at
        if age < landing.settle_seconds:
            return SkipReason(f"the newest file changed {age:.1f} s ago; it may still be written")
        return SensorResult(run_requests=[RunRequest(run_key=listing.cursor)], cursor=listing.cursor)

    return files


def touched_users_sensor(job: UnresolvedAssetJobDefinition) -> SensorDefinition:
    """Start a refresh of the days that got events since they were built."""

    @sensor(
        name="days_with_new_events",
        job=job,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.STOPPED,
    )
    def days(context: SensorEvaluationContext, lake: LakeResource) -> RunRequest | SkipReason:
        """The run key names the days and all events there are, so one arrival starts one run, also where that fails."""
        pending = pending_days(lake.lake)
        if not pending:
            return SkipReason("no day has new events")
        if nearline_lease(lake.lake).leader(time.time()) is not None:
            return SkipReason("the nearline worker renews the lists; daily_refresh builds the days")
        at_work = RunsFilter(statuses=list(_UNFINISHED), tags={"freshet/job": list(_CHANGES_DAYS)})
        if context.instance.get_run_records(at_work, limit=1):
            return SkipReason("an ingestion or a refresh is at work; what it leaves is built after it")
        (events,) = lake.lake.frame("SELECT count(*) AS n FROM raw.events")["n"]
        key = hashlib.sha256(repr((sorted(pending.items()), int(events))).encode()).hexdigest()
        first, last = min(pending).isoformat(), max(pending).isoformat()
        return RunRequest(run_key=key[:16], run_config=TOUCHED, tags={RANGE_START: first, RANGE_END: last})

    return days


@dataclass(frozen=True)
class Listing:
    """Files of a landing zone at one moment."""

    names: tuple[str, ...]
    modified_at: float
    """Time of the newest file, seconds since 1970; 0 without files."""
    cursor: str
    """Hash over names, sizes and times."""


def landing_listing(landing: Path, *, events_above: int = 0) -> Listing:
    """List the files that ingestion would look at.

    Args:
        landing: The landing zone.
        events_above: Smaller files of events are left out, in bytes: a nearline worker reads them.
    """
    zone = LandingZone(landing)
    files = [file for kind in KINDS for file in zone.found(kind) if not (kind == "events" and file.size < events_above)]
    facts = [(file.path.relative_to(landing).as_posix(), file.size, file.modified_ns) for file in files]
    newest = max((file.modified_ns for file in files), default=0) / 1e9
    cursor = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    return Listing(tuple(name for name, _, _ in facts), newest, cursor)
