"""Settings → the nearline worker with everything that it needs."""

from collections.abc import Callable
from datetime import datetime, timedelta

from assets.batch_report import BatchReport
from assets.domain import load_domain
from assets.lease import nearline_lease
from assets.nearline_upkeep import Upkeep
from orchestration.alert_delivery import build_notifier
from orchestration.nearline_lag import LagAlarm
from orchestration.nearline_lane import open_lane, open_watch, utc_now
from orchestration.nearline_metrics import NearlineMetrics
from orchestration.nearline_sources import build_sources
from orchestration.nearline_worker import NearlineWorker
from orchestration.settings import Settings


def build_worker(
    settings: Settings,
    metrics: NearlineMetrics,
    *,
    report: Callable[[BatchReport], None],
    on_upkeep: Callable[[int], None] = lambda snapshot: None,
    is_ready_for_texts: bool = True,
    now: Callable[[], datetime] = utc_now,
) -> NearlineWorker:
    """The worker of a home folder.

    Args:
        settings: The home folder's.
        metrics: Are told of everything.
        report: Called with each committed batch.
        on_upkeep: Called with each snapshot in which rows were written anew and none differs.
        is_ready_for_texts: Whether the encoder is loaded before an item with a new text needs it.
        now: Clock of the edge, UTC without a zone.
    """
    watch = open_watch(settings, is_ready_for_texts=is_ready_for_texts, on_load_failure=metrics.error)

    def written(snapshot: int) -> None:
        watch.made(snapshot)
        on_upkeep(snapshot)

    return NearlineWorker(
        watch.lake,
        open_lane(settings, watch, now=now),
        watch,
        build_sources(settings, watch.lake),
        nearline_lease(watch.lake),
        metrics,
        LagAlarm(build_notifier(settings), threshold_s=settings.nearline_lag_alert_s, now=now),
        report=report,
        upkeep=Upkeep(
            watch.lake,
            load_domain(settings.domain).surface,
            keep=timedelta(minutes=settings.nearline_history_minutes),
            now=now,
            on_written=written,
        ),
        now=now,
        max_rows=settings.nearline_max_rows,
    )
