"""The warm worker of the nearline lane: leads by a lease, reads sources in turn, commits, reports, and goes on.

While a batch is made, events gather at the source, so batches grow by themselves when events come faster; their most
rows are bounded, and so is what is kept of users.
"""

import gc
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb

from assets.batch_report import BatchReport
from assets.lake import Lake
from assets.lease import Lease
from assets.nearline import NearlineLane
from assets.nearline_upkeep import Upkeep
from assets.nearline_watch import LakeWatch
from assets.source_positions import read_positions
from assets.streams.contract import Delivery, EventSource
from models.errors import FreshetError, LeaseLostError, PositionMovedError
from orchestration.leadership import LONGEST_STEP_S, Leadership
from orchestration.nearline_lag import LagAlarm
from orchestration.nearline_metrics import NearlineMetrics
from orchestration.upkeep_thread import UpkeepThread

STANDBY_S = 0.5
"""How often a worker that does not lead asks whether it may."""
IDLE_S = 0.1
"""How long is waited when nothing is there: by a stream, which ends it with the first event, else between two looks."""
RENEW_EVERY_S = 1.0
"""How often the lake is asked for what others wrote, while no events come."""
_LONGEST_PAUSE_S = 5.0
MOST_FAILURES = 6
"""Failures in a row, some ten seconds of them, after which a worker that is to end by itself gives up."""
_TRANSIENT = (FreshetError, duckdb.Error)
"""What is tried again: a source or a store that does not answer, a catalogue that is locked, a refresh under way."""

_LOG = logging.getLogger(__name__)


@dataclass
class _Progress:
    delivery: Delivery | None = None
    """Delivered and not committed yet."""
    backlog: int = 0
    """What waited at the source when it was delivered."""
    failures: int = 0
    error: Exception | None = None
    """Of the last failure."""


class NearlineWorker:
    """Runs the lane until it is told to stop."""

    def __init__(
        self,
        lake: Lake,
        lane: NearlineLane,
        watch: LakeWatch,
        sources: Sequence[EventSource],
        lease: Lease,
        metrics: NearlineMetrics,
        alarm: LagAlarm,
        *,
        report: Callable[[BatchReport], None],
        upkeep: Upkeep,
        now: Callable[[], datetime],
        max_rows: int,
    ) -> None:
        """Bind everything; nothing is read or loaded yet.

        Args:
            lake: Where positions are kept.
            lane: Takes deliveries in.
            watch: What the lane holds.
            sources: Read in turn.
            lease: Who leads.
            metrics: Are told of everything.
            alarm: Is told how long events wait.
            report: Called with each committed batch.
            upkeep: Puts files together, in a thread of its own beside the next batch.
            now: Clock of the edge.
            max_rows: Most rows of one batch.
        """
        self._lake, self._lane, self._watch = lake, lane, watch
        self._sources = list(sources)
        self._leadership = Leadership(lease, self._note, longest_step_s=LONGEST_STEP_S)
        self._metrics, self._alarm = metrics, alarm
        self._report, self._upkeep = report, UpkeepThread(upkeep, on_error=metrics.error)
        self._now, self._max_rows = now, max_rows
        self._progress, self._renewals = {source.name: _Progress() for source in sources}, _Progress()
        self._last_error = ""
        self._renewed_at = 0.0
        self._reads_ahead = self._is_warm = False

    def run(self, stop: threading.Event, *, until_idle: bool = False, linger_s: float = 0.0) -> bool:
        """Work until told to stop.

        Args:
            stop: Set by a signal; the batch under way is finished.
            until_idle: Stop by itself once every source is read and nothing waits.
            linger_s: How long it then waits for more before it stops.

        Returns:
            Whether this worker led; with `until_idle` False means that another one does.

        Raises:
            FreshetError: with `until_idle`, a batch or source has failed too often in a row.
            SourceUnavailableError: with `until_idle`, a source does not answer at the start; else it is tried again.
        """
        busy_at = time.monotonic()
        self._reads_ahead = not until_idle
        with self._leadership:
            try:
                while not stop.is_set():
                    began = time.monotonic()
                    self._leadership.step()
                    if self._leadership.term is None and not self._take_over(until_idle=until_idle):
                        if until_idle:
                            return False
                        stop.wait(STANDBY_S)
                        continue
                    if self._turn(stop):
                        busy_at = time.monotonic()
                        self._give_up_after_failures(until_idle)
                    elif until_idle and not self._watch.left and time.monotonic() - busy_at >= linger_s:
                        return True
                    else:
                        # What the streams were waited for counts.
                        stop.wait(max(0.0, IDLE_S - (time.monotonic() - began)))
            finally:
                self._upkeep.close()
                for source in self._sources:
                    source.close()
                self._alarm.close()
                self._watch.close()
        return True

    def health(self) -> dict[str, Any]:
        """What the health page shows: well while the loop turns, leading or not."""
        age, term = self._leadership.seconds_since_step, self._leadership.term
        error = self._last_error or self._watch.load_error
        return {
            "is_well": age < 60 and not error,
            "leads": term is not None,
            "epoch": None if term is None else term.epoch,
            "seconds_since_turn": round(age, 1),
            "last_error": error,
            "hot_users": len(self._watch),
            "is_warm": self._is_warm,
            "snapshot": self._watch.snapshot,
        }

    def _take_over(self, *, until_idle: bool) -> bool:
        self._last_error = ""
        leads = self._leadership.take()
        self._metrics.leads.set(leads)
        if not leads:
            return False
        # Snapshots since the last term may be forgotten by now, so what they added cannot be taken in.
        self._watch.unload()
        if (error := self._resume_or_resign(self._sources)) is not None:
            if until_idle:
                raise error
            return False
        _LOG.info("leading: %s", self._leadership.term)
        return True

    def _turn(self, stop: threading.Event) -> bool:
        """One batch of each source; returns whether anything was done."""
        did = False
        for source in self._sources:
            if stop.is_set() or self._leadership.term is None:
                return True
            did |= self._attempt(source, stop)
        self._upkeep.begin_if_due()
        if did or self._leadership.term is None:
            return True
        now = time.monotonic()
        if now - self._renewed_at >= RENEW_EVERY_S:
            self._renewed_at = now
            if self._guarded(None, None, stop):
                return True
        return self._reads_ahead and self._warm()

    def _attempt(self, source: EventSource, stop: threading.Event) -> bool:
        progress = self._progress[source.name]
        self._leadership.step()
        try:
            if progress.delivery is None:
                progress.delivery = source.poll(self._max_rows, IDLE_S)
                backlog = source.backlog()
                self._metrics.backlog(source.name, backlog)
                progress.backlog = backlog
        except _TRANSIENT as error:
            self._failed(error, progress, stop)
            return True
        self._observe_lag(source, progress)
        return progress.delivery is not None and self._guarded(source, progress.delivery, stop)

    def _observe_lag(self, source: EventSource, progress: _Progress) -> None:
        """The rows of a delivery are the oldest that wait, also while it is tried again and again."""
        waiting = progress.delivery.arrived_at if progress.delivery else ()
        lag = max(0.0, (self._now() - min(waiting)).total_seconds()) if waiting else 0.0
        self._metrics.waiting(source.name, lag)
        self._alarm.observe(source.name, lag, progress.backlog)

    def _guarded(self, source: EventSource | None, delivery: Delivery | None, stop: threading.Event) -> bool:
        """One batch, with what may go wrong put right; returns whether there was anything to do."""
        progress = self._renewals if source is None else self._progress[source.name]
        started = time.monotonic()
        try:
            if source is None and not self._has_left():
                progress.failures, self._last_error = 0, ""
                return False
            term = self._leadership.term
            if term is None:
                raise LeaseLostError("the term of this worker has ended")
            report = self._lane.process(delivery, received_at=self._now(), epoch=term.epoch)
            if source is not None and delivery is not None:
                source.acknowledge(delivery)
        except PositionMovedError as error:
            _LOG.info("%s", error)
            self._metrics.error(error)
            self._resume_or_resign([] if source is None else [source])
            return True
        except LeaseLostError as error:
            _LOG.warning("%s", error)
            self._metrics.error(error)
            self._leadership.lose()
            return True
        except _TRANSIENT as error:
            self._failed(error, progress, stop)
            return True
        progress.delivery, progress.failures, self._last_error = None, 0, ""
        self._committed(report, time.monotonic() - started)
        return True

    def _warm(self) -> bool:
        """Read users ahead of their events while nothing else is to be done; returns whether there are more."""
        try:
            has_more = self._watch.warm()
        except _TRANSIENT as error:
            self._metrics.error(error)
            _LOG.warning("users were not read ahead: %s", error)
            return False
        if not has_more and self._watch.snapshot and not self._is_warm:
            self._is_warm = True
            gc.freeze()  # what stays for long is not looked at by every full collection
        return has_more

    def _has_left(self) -> bool:
        self._watch.refresh(self._now())
        return self._watch.left > 0

    def _committed(self, report: BatchReport, seconds: float) -> None:
        self._upkeep.count(report.snapshot)
        self._metrics.batch(report, seconds)
        self._metrics.held(self._watch.hot_bytes, len(self._watch), self._watch.left)
        self._report(report)

    def _failed(self, error: Exception, progress: _Progress, stop: threading.Event) -> None:
        """Wait before the next try, longer each time; what was delivered is kept."""
        self._note(error)
        progress.failures, progress.error = progress.failures + 1, error
        stop.wait(min(_LONGEST_PAUSE_S, 0.2 * 2 ** min(progress.failures, 6)))

    def _note(self, error: Exception) -> None:
        self._metrics.error(error)
        self._last_error = str(error)
        _LOG.warning("%s", error)

    def _give_up_after_failures(self, until_idle: bool) -> None:
        worst = max([self._renewals, *self._progress.values()], key=lambda progress: progress.failures)
        if until_idle and worst.failures >= MOST_FAILURES and worst.error is not None:
            raise worst.error

    def _resume_or_resign(self, sources: Sequence[EventSource]) -> Exception | None:
        """Read on from where the lake is; where a source or the lake does not answer, resign and return why."""
        try:
            for source in sources:
                self._resume(source)
        except _TRANSIENT as error:
            self._note(error)
            self._leadership.resign()
            return error
        return None

    def _resume(self, source: EventSource) -> None:
        self._progress[source.name].delivery = None
        with self._lake.connect() as connection:
            position = read_positions(connection, source.name)
        source.resume(position)
