"""What the nearline worker tells of itself: Prometheus metrics and a health page over HTTP."""

import json
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app

from assets.batch_report import BatchReport
from assets.mirrors.filling import FillReport

_LAGS = (0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 30.0, 60.0, 300.0, 3600.0)


class NearlineMetrics:
    """Metrics of one worker."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self._rows = Counter("freshet_nearline_rows", "Rows by outcome.", ["source", "outcome"], registry=registry)
        self._batches = Counter("freshet_nearline_batches", "Committed batches.", ["source"], registry=registry)
        self._lists = Counter("freshet_nearline_lists", "Lists renewed.", registry=registry)
        self._errors = Counter("freshet_nearline_errors", "Errors by kind.", ["kind"], registry=registry)
        self._lag = Histogram(
            "freshet_nearline_arrival_seconds", "From the arrival of an event to its list.", buckets=_LAGS,
            registry=registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "freshet_nearline_batch_seconds", "Time of a batch.", buckets=_LAGS, registry=registry
        )
        self._backlog = Gauge("freshet_nearline_backlog", "Rows or files that wait.", ["source"], registry=registry)
        self._waiting = Gauge(
            "freshet_nearline_waiting_seconds", "Age of the oldest event that waits.", ["source"], registry=registry
        )
        self.leads = Gauge("freshet_nearline_leads", "1 while this worker leads.", registry=registry)
        self.hot_bytes = Gauge("freshet_nearline_hot_bytes", "Memory of what is kept of users.", registry=registry)
        self.hot_users = Gauge("freshet_nearline_hot_users", "Users kept in memory.", registry=registry)
        self.left = Gauge("freshet_nearline_left", "Lists that wait to be renewed without an event.", registry=registry)
        self._mirrored = Counter("freshet_nearline_mirrored", "Lists written to the mirror.", registry=registry)
        self._mirror = Gauge("freshet_nearline_mirror_snapshot", "Snapshot that the mirror has.", registry=registry)
        self._snapshot = Gauge("freshet_nearline_snapshot", "Last lake snapshot written.", registry=registry)

    def held(self, hot_bytes: int, hot_users: int, left: int) -> None:
        """What the worker holds: of hot users, and users whose lists are left to it."""
        self.hot_bytes.set(hot_bytes)
        self.hot_users.set(hot_users)
        self.left.set(left)

    def batch(self, report: BatchReport, seconds: float) -> None:
        """Count a committed batch."""
        counts = report.counts
        for outcome in ("accepted", "quarantined", "duplicate"):
            self._rows.labels(report.source, outcome).inc(getattr(counts, outcome))
        self._batches.labels(report.source).inc()
        self._lists.inc(report.users)
        self._seconds.observe(seconds)
        self._snapshot.set(report.snapshot)
        for lag in report.arrival_lags:
            self._lag.observe(lag)

    def mirrored(self, report: FillReport) -> None:
        """The mirror was brought up to the lake."""
        self._mirrored.inc(report.written)
        self._mirror.set(report.snapshot)

    def error(self, error: BaseException) -> None:
        """Count an error."""
        self._errors.labels(type(error).__name__).inc()

    def backlog(self, source: str, rows: int) -> None:
        """What waits at a source."""
        self._backlog.labels(source).set(rows)

    def waiting(self, source: str, seconds: float) -> None:
        """Age of the oldest event of a source that is not in the lake."""
        self._waiting.labels(source).set(seconds)


class HealthServer:
    """Serves `/metrics` and `/health` from a thread of its own."""

    def __init__(self, host: str, port: int, metrics: NearlineMetrics, health: Callable[[], dict[str, Any]]) -> None:
        """Bind to an address.

        Args:
            host: Address to listen at.
            port: Port; 0 takes a free one.
            metrics: Served at `/metrics`.
            health: Served as JSON at `/health`, with status 503 unless its `is_well` is true.
        """
        self._metrics = make_wsgi_app(metrics.registry)
        self._health = health
        self._server = make_server(host, port, self._answer, WSGIServer, _SilentHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened at."""
        return int(self._server.server_port)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != "/health":
            answered: Iterable[bytes] = self._metrics(environ, start_response)
            return answered
        health = self._health()
        status = "200 OK" if health["is_well"] else "503 Service Unavailable"
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(health, default=str).encode() + b"\n"]


class _SilentHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""
