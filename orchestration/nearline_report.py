"""What the Dagster UI is told of nearline batches: materialisations without a run, with snapshot, counts and lag."""

import logging
import threading
from collections.abc import Callable, Mapping
from queue import Queue
from types import TracebackType
from typing import Any, Self

import numpy as np
from dagster import AssetMaterialization, DagsterInstance
from sqlalchemy.exc import SQLAlchemyError

from assets.batch_report import BatchReport
from assets.serving import TOP_K
from orchestration.nearline_metrics import NearlineMetrics

RAW_EVENTS = "raw_events"

WAITING = 200
"""Most reports that wait to be written; beyond it the next batch waits too, so none is lost."""

_LOG = logging.getLogger(__name__)


class Reporter:
    """Records batches as materialisations of the lists, and of the raw events where a batch added some.

    A report that cannot be written is counted and left out: the lists are in the lake, and so are the facts about them.
    """

    def __init__(self, instance: DagsterInstance, metrics: NearlineMetrics) -> None:
        """Bind to an instance.

        Args:
            instance: Where the UI reads.
            metrics: Are told of reports that failed.
        """
        self._instance = instance
        self._metrics = metrics

    def __call__(self, report: BatchReport) -> None:
        """Record one batch."""
        try:
            for made in materialisations(report):
                self._instance.report_runless_asset_event(made)
        except SQLAlchemyError as error:
            _LOG.warning("batch of snapshot %d is missing in the Dagster UI: %s", report.snapshot, error)
            self._metrics.error(error)


def materialisations(
    report: BatchReport, mirrored: Mapping[str, str | int] | None = None
) -> list[AssetMaterialization]:
    """What a batch made, as the UI shows it.

    Args:
        report: The batch.
        mirrored: What became of its lists in the mirror, where that is known by now.
    """
    tags = {"freshet/lane": "nearline", "freshet/source": _tag(report.source)}
    facts = _facts(report)
    if TOP_K in facts:
        facts[TOP_K] |= mirrored or {}
    return [AssetMaterialization(asset, metadata=some, tags=tags) for asset, some in facts.items()]


class ReportThread:
    """Writes reports from a thread of its own, in order; at its end those that wait are written first.

    Two events of a batch take Dagster's SQLite storage some 50 ms, which no list should wait for.
    """

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
