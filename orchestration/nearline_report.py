"""What the Dagster UI is told of nearline batches: materialisations without a run, with snapshot, counts and lag."""

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import Queue
from types import TracebackType
from typing import Any, Self

import numpy as np
from dagster import AssetMaterialization

from assets.batch_report import BatchReport
from assets.serving import TOP_K
from models.errors import ReportError
from orchestration import nearline_report_writer
from orchestration.nearline_metrics import NearlineMetrics

RAW_EVENTS = "raw_events"

WAITING = 200
"""Most reports that wait to be written; beyond it the next batch waits too, so none is lost."""

_LOG = logging.getLogger(__name__)


class ReportProcess:
    """Has batches recorded as materialisations of the lists, and of the raw events where a batch added some.

    Two events of a batch take 50 ms of Python, which would be taken from the batch under way in the same process. A
    report that cannot be written is counted and left out: the lists are in the lake, and so are the facts about them.
    """

    def __init__(self, metrics: NearlineMetrics) -> None:
        """Start the process; end it with `close`.

        Args:
            metrics: Are told of reports that failed.
        """
        self._metrics = metrics
        self._process = _started()

    def __call__(self, report: BatchReport) -> None:
        """Record one batch; returns when it is written."""
        for made in materialisation_facts(report):
            answer = self._sent(made)
            if answer:
                error = ReportError(f"batch of snapshot {report.snapshot} is missing in the Dagster UI: {answer}")
                _LOG.warning("%s", error)
                self._metrics.error(error)

    @property
    def process_id(self) -> int:
        """Of the process that writes at present."""
        return self._process.pid

    def close(self) -> None:
        """Let the process end, and wait for it."""
        self._process.communicate()

    def _sent(self, made: Mapping[str, Any]) -> str:
        """What went wrong, if anything; a process that has died is started again, once."""
        for _ in range(2):
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            with suppress(OSError):
                self._process.stdin.write(json.dumps(made) + "\n")
                self._process.stdin.flush()
                if line := self._process.stdout.readline():
                    return str(json.loads(line))
            self.close()
            self._process = _started()
        return "the process that writes reports died twice"


def _started() -> subprocess.Popen[str]:
    # A session of its own: what is typed into the terminal ends the worker first.
    words = [sys.executable, "-m", nearline_report_writer.__name__]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)


def materialisations(
    report: BatchReport, mirrored: Mapping[str, str | int] | None = None
) -> list[AssetMaterialization]:
    """What a batch made, as the UI shows it.

    Args:
        report: The batch.
        mirrored: What became of its lists in the mirror, where that is known by now.
    """
    return [AssetMaterialization(**made) for made in materialisation_facts(report, mirrored)]


def materialisation_facts(report: BatchReport, mirrored: Mapping[str, str | int] | None = None) -> list[dict[str, Any]]:
    """Arguments of each `AssetMaterialization` of a batch; plain values, which JSON can hold."""
    tags = {"freshet/lane": "nearline", "freshet/source": _tag(report.source)}
    facts = _facts(report)
    if TOP_K in facts:
        facts[TOP_K] |= mirrored or {}
    return [{"asset_key": asset, "metadata": some, "tags": tags} for asset, some in facts.items()]


class ReportThread:
    """Has reports written from a thread of its own, in order; at its end those that wait are written first."""

    def __init__(self, report: Callable[[BatchReport], None]) -> None:
        """Start with `with`.

        Args:
            report: Called with each report; it must not raise.
        """
        self._report = report
        self._waiting: Queue[BatchReport | None] = Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="reports", daemon=True)

    def __call__(self, report: BatchReport) -> None:
        """Have a report written; waits only while `WAITING` others do."""
        self._waiting.put(report)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (report := self._waiting.get()) is not None:
            self._report(report)


def lag_facts(lags: tuple[float, ...], name: str) -> dict[str, float]:
    """Median and 95th percentile of lags in seconds; nothing without any."""
    if not lags:
        return {}
    p50, p95 = np.percentile(np.array(lags), [50, 95])
    return {f"{name}_p50_s": round(float(p50), 3), f"{name}_p95_s": round(float(p95), 3)}


def _facts(report: BatchReport) -> dict[str, dict[str, Any]]:
    counts = report.counts
    made: dict[str, dict[str, Any]] = {}
    if counts.rows_in:
        made[RAW_EVENTS] = {
            "source": report.source,
            "rows_in": counts.rows_in,
            "rows_accepted": counts.accepted,
            "rows_quarantined": counts.quarantined,
            "rows_duplicate": counts.duplicate,
            "snapshot": report.snapshot,
            **({"position": dict(report.position)} if report.position else {}),
        }
    if report.users:
        made[TOP_K] = {
            "lane": "nearline",
            "lists_renewed": report.users,
            "as_of": report.as_of.isoformat(),
            "model_version": report.model_version,
            "index_version": report.index_version,
            "snapshot": report.snapshot,
            **lag_facts(report.arrival_lags, "arrival_to_list"),
            **lag_facts(report.event_lags, "event_to_list"),
        }
    return made


def _tag(source: str) -> str:
    """A source's name as Dagster allows it in a tag."""
    return "".join(sign if sign.isalnum() or sign in "-_." else "_" for sign in source)[:63]
