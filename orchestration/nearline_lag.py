"""The alert of the nearline worker: events wait for too long. It is raised once, and again only after a recovery."""

import logging
import threading
from collections.abc import Callable
from datetime import datetime

from assets.notifier import Alert, Notifier, RunAlert
from assets.serving import TOP_K

JOB = "freshet nearline"
RULE = "events_wait_for_the_nearline_worker"
_RECOVERED = 0.5
"""Share of the threshold below which the lag counts as gone, so that a lag around the threshold is one alert."""

_LOG = logging.getLogger(__name__)


class LagAlarm:
    """Watches the age of the oldest event that each source has and the lake has not."""

    def __init__(self, notifier: Notifier, *, threshold_s: float, now: Callable[[], datetime]) -> None:
        """Begin with nothing raised.

        Args:
            notifier: Delivers, in a thread of its own, since an address may take seconds to answer.
            threshold_s: Age in seconds beyond which an alert is raised.
            now: Clock of the edge, UTC without a zone.
        """
        self._notifier = notifier
        self._threshold = threshold_s
        self._now = now
        self._raised: set[str] = set()
        self._deliveries: list[threading.Thread] = []

    def observe(self, source: str, lag_s: float, backlog: int) -> bool:
        """Take a measurement in; returns whether it raised an alert.

        Args:
            source: Name of the source.
            lag_s: Age of the oldest event that waits, 0 without any.
            backlog: Rows or files that wait.
        """
        if source in self._raised:
            if lag_s < _RECOVERED * self._threshold:
                self._raised.discard(source)
                _LOG.info("%s: the lag has gone, the oldest event waits for %.1f s", source, lag_s)
            return False
        if lag_s <= self._threshold:
            return False
        self._raised.add(source)
        self._deliver(self._alert(source, lag_s, backlog))
        return True

    def close(self) -> None:
        """Wait for the deliveries under way."""
        for delivery in self._deliveries:
            delivery.join()

    def _deliver(self, alert: RunAlert) -> None:
        self._deliveries = [delivery for delivery in self._deliveries if delivery.is_alive()]
        delivery = threading.Thread(target=self._send, args=(alert,), name="lag alert")
        delivery.start()
        self._deliveries.append(delivery)

    def _send(self, alert: RunAlert) -> None:
        try:
            self._notifier.send(alert)
        except OSError as error:
            _LOG.error("the alert of a lag could not be written to %s: %s", self._notifier.file, error)

    def _alert(self, source: str, lag_s: float, backlog: int) -> RunAlert:
        moment = self._now()
        link = f"{self._notifier.ui_url.rstrip('/')}/assets/{TOP_K}"
        alert = Alert(
            asset=TOP_K,
            rule=RULE,
            severity="error",
            count=round(lag_s, 1),
            says=f"{source}: the oldest event that waits arrived {lag_s:.0f} s ago (allowed are {self._threshold:g} s)",
            samples=(f"{backlog:,} rows or files wait at {source}",),
            since=f"{moment.isoformat(timespec='milliseconds')}+00:00",
            link=link,
            next_step="see freshet_nearline_errors_total and freshet_nearline_batch_seconds at /metrics: a store that "
            "is locked or gone shows there; else give the worker more processor time, or raise "
            "FRESHET_NEARLINE_MAX_ROWS",
            unit="seconds",
        )
        # Named by the hour, so that a worker that is started again and again tells of one lag once an hour.
        return RunAlert(f"nearline lag of {source} at {moment:%Y-%m-%dT%H}", JOB, alert.since, link, (alert,))
