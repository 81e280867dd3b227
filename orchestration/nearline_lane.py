"""Settings → the nearline lane: what the worker, the sensor's job and the checks open."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from assets.domain import load_domain
from assets.nearline import NearlineLane
from assets.nearline_watch import LakeWatch
from assets.resources import ArtifactResource
from assets.warm_lake import warmed
from orchestration.home import open_lake, warehouse_project
from orchestration.settings import Settings


def utc_now() -> datetime:
    """The clock of the edge: UTC without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def open_watch(
    settings: Settings,
    *,
    is_ready_for_texts: bool = True,
    on_load_failure: Callable[[Exception], None] | None = None,
) -> LakeWatch:
    """Model, index and hot state of a home folder; nothing is loaded yet.

    Args:
        settings: The home folder's.
        is_ready_for_texts: Whether the encoder is loaded before an item with a new text needs it; takes seconds.
        on_load_failure: Told of each failure to load the next model.
    """
    return LakeWatch(
        warmed(open_lake(settings)),
        load_domain(settings.domain),
        ArtifactResource(path=str(settings.artifacts_path)),
        warehouse_project(settings),
        budget_bytes=settings.nearline_memory_mb * 2**20,
        new_item_users=settings.nearline_new_item_users,
        is_ready_for_texts=is_ready_for_texts,
        on_load_failure=on_load_failure,
    )


def open_lane(
    settings: Settings,
    watch: LakeWatch,
    *,
    now: Callable[[], datetime] = utc_now,
    on_stage: Callable[[str], None] | None = None,
) -> NearlineLane:
    """The lane of a home folder, on the lake of its watch."""
    return NearlineLane(
        watch.lake,
        load_domain(settings.domain),
        watch,
        settings.pseudonym_key.get_secret_value(),
        now=now,
        on_stage=on_stage,
        freshness_kept=timedelta(hours=settings.nearline_freshness_hours),
    )
