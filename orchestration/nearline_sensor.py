"""The sensor path of the nearline lane: where no worker leads, what arrives starts a run that takes it in.

So does what begins or ends by itself: the end of an item, or of a business rule.

A tick is held open while nothing waits, since Dagster starts one only every five seconds or more.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    JobDefinition,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from assets.builds import last_build
from assets.lease import Lease, nearline_lease
from assets.serving import TOP_K
from models.errors import SourceUnavailableError
from orchestration.home import open_lake
from orchestration.nearline_arrivals import Arrivals, open_arrivals
from orchestration.nearline_lane import utc_now
from orchestration.run_coordination import LEFT
from orchestration.settings import Settings

NAME = "nearline_events"
INTERVAL_SECONDS = 1
"""Dagster's own loop takes five seconds all the same; more would be added to them."""
HOLD_S = 45.0
"""How long a tick waits for something to arrive; Dagster ends one after 60 seconds."""
LOOK_EVERY_S = 0.5
MOST_ATTEMPTS = 5
"""Runs for the same arrival, when they fail or leave it where it was."""
ARRIVAL = "freshet/arrival"
"""Tag of a run with what it was started for."""

_UNDER_WAY = (
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
)


@dataclass(frozen=True)
class Cursor:
    """What the last run was started for."""

    arrival: str = ""
    landing: str = ""
    """Hash over the landing files that it got."""
    passed: str = ""
    """What had begun or ended by itself when it started."""
    attempt: int = 0

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """From Dagster's text; a new sensor has none."""
        return cls(**json.loads(text)) if text else cls()

    @property
    def run_key(self) -> str:
        """Dagster starts one run for a key, however often it is asked for."""
        return f"{self.arrival}-{self.attempt}"

    def text(self) -> str:
        """For Dagster."""
        return json.dumps(asdict(self))


def nearline_sensor(settings: Settings, job: JobDefinition) -> SensorDefinition:
    """The sensor of a home folder."""

    @sensor(
        name=NAME,
        job=job,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
    )
    def events(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        """New landing files and stream entries, and items that ran out, start a run, unless a nearline worker leads."""
        lake = open_lake(settings)
        if last_build(lake, TOP_K) is None:
            return SkipReason("no lists were built yet; `freshet run` builds them")
        try:
            with open_arrivals(settings) as arrivals:
                return watch(arrivals, nearline_lease(lake), context.instance, context.cursor)
        except SourceUnavailableError as error:
            return SkipReason(str(error))

    return events


def watch(
    arrivals: Arrivals,
    lease: Lease,
    instance: DagsterInstance,
    text: str | None,
    *,
    hold_s: float = HOLD_S,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> SensorResult | SkipReason:
    """Wait until something has arrived that no run has got, and no worker leads.

    Args:
        arrivals: Looks at the sources.
        lease: Says who leads.
        instance: Knows what became of the last run.
        text: The cursor.
        hold_s: How long to wait.
        clock: Seconds since 1970.
        sleep: Waits for so many seconds.
    """
    cursor, until = Cursor.parse(text), clock() + hold_s
    status = _status(instance, cursor) if cursor.arrival else DagsterRunStatus.SUCCESS
    reason = "nothing new has arrived"
    while True:
        if status in _UNDER_WAY:
            reason = "the run for what arrived last is under way"
            status = _status(instance, cursor)
            if status not in _UNDER_WAY:
                arrivals.resume()
        elif lease.leader(clock()) is not None:
            return SkipReason("a nearline worker leads and takes in what arrives")
        else:
            # What a failed run has got waits again.
            got = cursor if status == DagsterRunStatus.SUCCESS else Cursor()
            found = arrivals.look(got.landing, got.passed, utc_now())
            if found is not None:
                attempt = cursor.attempt + 1 if found.name == cursor.arrival else 0
                if attempt < MOST_ATTEMPTS:
                    return _requested(Cursor(found.name, found.landing, found.passed, attempt), found.says)
                reason = f"{MOST_ATTEMPTS} runs have left {found.says} where they are; the next arrival starts another"
        if clock() >= until:
            return SkipReason(reason)
        sleep(LOOK_EVERY_S)


def _requested(cursor: Cursor, says: str) -> SensorResult:
    tags = {ARRIVAL: cursor.run_key, "freshet/waiting": says[:200]}
    return SensorResult([RunRequest(run_key=cursor.run_key, tags=tags)], cursor=cursor.text())


def _status(instance: DagsterInstance, cursor: Cursor) -> DagsterRunStatus:
    """What became of the last run; one that is not known, or that left all to a leader, counts as failed."""
    records = instance.get_run_records(RunsFilter(tags={ARRIVAL: cursor.run_key}), limit=1)
    run = records[0].dagster_run if records else None
    return DagsterRunStatus.FAILURE if run is None or LEFT in run.tags else run.status
