"""What the worker and the sensor's job tell of a batch of the nearline lane."""

from dataclasses import dataclass, field
from datetime import datetime

from assets.mirrors.held_lists import CommittedLists
from assets.nearline_commit import NewLists, RowCounts
from assets.prepared_server import Loaded
from models.nearline import Position


@dataclass(frozen=True)
class BatchReport:
    """What one batch did."""

    source: str
    counts: RowCounts
    users: int
    """Users whose lists were renewed."""
    snapshot: int
    model_version: str
    index_version: str
    as_of: datetime
    committed_at: datetime
    event_lags: tuple[float, ...]
    """Seconds from the latest event of each touched user to the commit."""
    arrival_lags: tuple[float, ...]
    """Seconds from the arrival of the first event of each touched user to the commit."""
    position: Position = field(default_factory=dict)
    """How far the source was read, of each partition among its rows."""
    lists: CommittedLists | None = None
    """All that the batch did to the lists; None where it did nothing, or took items out of others' lists as well."""


def report_of(
    loaded: Loaded,
    lists: NewLists | None,
    source: str,
    counts: RowCounts,
    snapshot: int,
    as_of: datetime,
    committed_at: datetime,
    position: Position,
) -> BatchReport:
    """The report of a batch that was committed.

    Args:
        loaded: What its lists were made with.
        lists: Its lists; None where it made none.
        source: Where its rows came from.
        counts: What became of them.
        snapshot: As which it was committed.
        as_of: Moment that the lists are for.
        committed_at: Moment of the commit, UTC without a zone.
        position: How far the source was read.
    """
    fresh = None if lists is None else lists.freshness
    lags = [] if fresh is None else (committed_at - fresh["event_at"]).dt.total_seconds().tolist()
    waits = [] if fresh is None else (committed_at - fresh["arrived_at"]).dt.total_seconds().tolist()
    return BatchReport(
        source=source,
        counts=counts,
        users=0 if lists is None else len(lists.user_ids),
        snapshot=snapshot,
        model_version=loaded.server.model_version,
        index_version=loaded.server.index_version,
        as_of=as_of,
        committed_at=committed_at,
        event_lags=tuple(lags),
        arrival_lags=tuple(waits),
        position=position,
    )
