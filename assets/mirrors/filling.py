"""Brings a mirror up to the lake: by what this process has committed, else by the lake's changes, else whole.

Both lanes call `catch_up` after they have committed. Whatever happened in between (a killed process, a store that was
gone, somebody who wrote lists by hand), the next call repairs, because the mirror knows the snapshot it is true for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import duckdb
from filelock import FileLock, Timeout

from assets.lake import Lake
from assets.lake_snapshots import snapshots_from, table_id
from assets.mirrors.contract import PAYLOAD, Entry, ListMirror, MirrorState, in_batches, microseconds
from assets.mirrors.held_lists import HeldLists
from models.errors import MirrorError
from models.schema import TOP_K

WHOLE_FROM = 20_000
"""From so many changed lists on, reading all lists is as fast as reading the changes."""

_ROWS = 1_000
"""Lists held in memory at once."""
_LOCK_TIMEOUT_S = 120.0

# The last change of each list counts; a list that is replaced is deleted and inserted in one snapshot.
_CHANGED = """
CREATE OR REPLACE TEMP TABLE changed AS
SELECT surface, user_id, max(snapshot_id) AS snapshot_id,
    max_by(change_type IN ('insert', 'update_postimage'), (snapshot_id, change_type IN ('insert', 'update_postimage')))
        AS is_there
FROM ducklake_table_changes('lake', 'serving', 'top_k', ?::BIGINT, ?::BIGINT)
GROUP BY surface, user_id
"""
_COLUMNS = f"surface, user_id, epoch_us(expires_at) AS expires_at, {PAYLOAD} AS payload"
_NEW = f"""
SELECT {_COLUMNS}
FROM ducklake_table_changes('lake', 'serving', 'top_k', ?::BIGINT, ?::BIGINT)
SEMI JOIN (FROM changed WHERE is_there) USING (surface, user_id, snapshot_id)
WHERE change_type IN ('insert', 'update_postimage')
"""
_GONE = "SELECT surface, user_id FROM changed WHERE NOT is_there"
_ALL = f"SELECT {_COLUMNS} FROM serving.top_k"


@dataclass(frozen=True)
class FillReport:
    """What one call brought."""

    snapshot: int
    """The mirror is true up to it."""
    written: int
    removed: int
    is_whole: bool
    """Whether all lists were read anew."""


def catch_up(lake: Lake, mirror: ListMirror, *, now: datetime, held: HeldLists | None = None) -> FillReport:
    """Bring a mirror up to the lake's present snapshot.

    Args:
        lake: The record.
        mirror: Its copy.
        now: The present moment, UTC without a zone; what has expired by then is left out.
        held: Lists that this process has committed; only used where nobody else has changed any since.

    Raises:
        MirrorError: the store cannot be written, or another process fills it and does not end.
        LakeError: the lake cannot be read.
    """
    with _turn(lake), lake.connect() as connection:
        state = mirror.state()
        span = _span_from(connection, state)
        present = span.last
        if state == present:
            return FillReport(present.snapshot, 0, 0, is_whole=False)
        report = None
        if state is not None and state == span.first:
            if held is not None:
                report = _fill_held(mirror, held, span, now)
            if report is None:
                report = _fill_changes(connection, mirror, state, present, now)
        if report is None:
            report = _fill_whole(lake, mirror, state, present, now)
        mirror.remove_expired(now)
        mirror.mark(present)
    if held is not None:
        held.forget(present.snapshot)
    return report


def seconds_behind(lake: Lake, mirror: ListMirror, *, now: datetime) -> float:
    """Age of the oldest change of a list that a mirror lacks; 0 without any, infinite where it was never filled.

    Args:
        lake: The record.
        mirror: Its copy.
        now: The present moment, UTC without a zone.
    """
    state = mirror.state()
    if state is None:
        return float("inf")
    with lake.connect() as connection:
        found, lists = snapshots_from(connection, state.snapshot), table_id(connection, TOP_K.name)
    if not found or MirrorState(found[0].id, found[0].committed_at) != state:
        return float("inf")
    missing = [one.committed_at for one in found[1:] if one.changes_rows_of(lists)]
    return max(0.0, (microseconds(now) - min(missing)) / 1e6) if missing else 0.0


@dataclass(frozen=True)
class _Span:
    """The lake from one snapshot to its present one."""

    first: MirrorState
    last: MirrorState
    is_whole: bool
    """Whether no snapshot between the two was expired, since one that was cannot say whether it changed lists."""
    changing: frozenset[int]
    """Snapshots after the first that changed lists."""


def _span_from(connection: duckdb.DuckDBPyConnection, state: MirrorState | None) -> _Span:
    """From a state on; the present snapshot alone where there is none, or where the lake has none so new."""
    found = snapshots_from(connection, None if state is None else state.snapshot) or snapshots_from(connection, None)
    lists = table_id(connection, TOP_K.name)
    first, last = (MirrorState(one.id, one.committed_at) for one in (found[0], found[-1]))
    changing = frozenset(one.id for one in found[1:] if one.changes_rows_of(lists))
    return _Span(first, last, len(found) == last.snapshot - first.snapshot + 1, changing)


@contextmanager
def _turn(lake: Lake) -> Iterator[None]:
    """One process at a time fills: two that read different changes would overwrite new lists with old ones."""
    file = lake.lock_path.with_name("mirror.lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(file, timeout=_LOCK_TIMEOUT_S):
            yield
    except Timeout as error:
        raise MirrorError(
            f"another process has filled the mirror for over {_LOCK_TIMEOUT_S:g} s (lock {file}); wait for it, or stop "
            "it"
        ) from error


def _fill_held(mirror: ListMirror, held: HeldLists, span: _Span, now: datetime) -> FillReport | None:
    """Write lists that are held; None where they are not all that has changed since the first snapshot."""
    commits, present = held.since(span.first.snapshot, span.last.snapshot), span.last
    if not (span.is_whole and span.changing <= set(commits)):
        return None
    entries: dict[tuple[str, str], Entry | None] = {}
    for one in commits.values():
        if one.made is None:
            continue
        entries.update({(one.made.surface, user): None for user in one.gone})
        entries.update({(entry.surface, entry.user_id): entry for entry in one.entries()})
    new = [entry for entry in entries.values() if entry is not None]
    gone = [key for key, entry in entries.items() if entry is None]
    for some in in_batches(new, _ROWS):
        mirror.put(some, stamp=present.committed_at, now=now)
    mirror.remove(gone)
    return FillReport(present.snapshot, len(new), len(gone), is_whole=False)


def _fill_changes(
    connection: duckdb.DuckDBPyConnection, mirror: ListMirror, state: MirrorState, present: MirrorState, now: datetime
) -> FillReport | None:
    """Write what has changed since a state; None where reading all is better."""
    span = [state.snapshot + 1, present.snapshot]
    try:
        connection.execute(_CHANGED, span)
        count = connection.execute("SELECT count(*) FROM changed").fetchall()[0][0]
        if count >= WHOLE_FROM:
            return None
        written = _copy(connection.execute(_NEW, span), mirror, present.committed_at, now)
    except duckdb.Error:
        # The table was made anew, or files of old snapshots were cleaned up: its changes cannot be told any more.
        return None
    gone = connection.execute(_GONE).fetchall()
    mirror.remove(gone)
    return FillReport(present.snapshot, written, len(gone), is_whole=False)


def _fill_whole(
    lake: Lake, mirror: ListMirror, state: MirrorState | None, present: MirrorState, now: datetime
) -> FillReport:
    if state is not None:
        # Readers see old lists beside new ones meanwhile, as during any refresh; of another lake they must see none.
        mirror.mark(None)
    with lake.connect(snapshot=present.snapshot) as connection:
        written = _copy(connection.execute(_ALL), mirror, present.committed_at, now)
    before = mirror.count()
    mirror.remove_others(present.committed_at)
    return FillReport(present.snapshot, written, max(before - written, 0), is_whole=True)


def _copy(found: duckdb.DuckDBPyConnection, mirror: ListMirror, stamp: int, now: datetime) -> int:
    count = 0
    while rows := found.fetchmany(_ROWS):
        entries = [Entry(surface, user, expires, payload.encode()) for surface, user, expires, payload in rows]
        mirror.put(entries, stamp=stamp, now=now)
        count += len(entries)
    return count
