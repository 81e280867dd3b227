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
from assets.mirrors.contract import PAYLOAD, Entry, ListMirror, MirrorState, in_batches, microseconds
from assets.mirrors.held_lists import HeldLists
from models.errors import MirrorError

WHOLE_FROM = 20_000
"""From so many changed lists on, reading all lists is as fast as reading the changes."""

_ROWS = 1_000
"""Lists held in memory at once."""
_LOCK_TIMEOUT_S = 120.0

_THEN = "SELECT epoch_us(snapshot_time) FROM ducklake_snapshots('lake') WHERE snapshot_id = ?"

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

_CHANGES_LISTS = """len(list_intersect(
    list_concat(coalesce(changes['tables_inserted_into'], []), coalesce(changes['tables_deleted_from'], [])),
    [(SELECT table_id::VARCHAR FROM ducklake_table_info('lake') WHERE table_name = 'top_k')]
)) > 0"""
# When the first list was committed that a mirror of a snapshot lacks.
_MISSING_SINCE = f"""
SELECT min(epoch_us(snapshot_time)) FROM ducklake_snapshots('lake') WHERE snapshot_id > ? AND {_CHANGES_LISTS}
"""
# Asked once for all that is to be known: each time all snapshots of the catalogue are read.
_SNAPSHOTS = f"""
SELECT snapshot_id, epoch_us(snapshot_time), coalesce({_CHANGES_LISTS}, false)
FROM ducklake_snapshots('lake')
WHERE snapshot_id >= coalesce(?, (SELECT id FROM ducklake_current_snapshot('lake')))
ORDER BY snapshot_id
"""


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
        span = _snapshots_from(connection, state)
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
        if not _has(connection, state):
            return float("inf")
        since = connection.execute(_MISSING_SINCE, [state.snapshot]).fetchall()[0][0]
    return 0.0 if since is None else max(0.0, (microseconds(now) - since) / 1e6)


@dataclass(frozen=True)
class _Snapshots:
    """Those of the lake from one to its present one, as far as they were not expired."""

    first: MirrorState
    last: MirrorState
    are_whole: bool
    """Whether none between the two was expired, since one that was cannot say whether it changed lists."""
    changing: frozenset[int]
    """After the first, those that changed lists."""


def _snapshots_from(connection: duckdb.DuckDBPyConnection, state: MirrorState | None) -> _Snapshots:
    """All since a state, or the present one alone where there is none, or where the lake has none so new."""
    rows = connection.execute(_SNAPSHOTS, [None if state is None else state.snapshot]).fetchall()
    if not rows:
        rows = connection.execute(_SNAPSHOTS, [None]).fetchall()
    first, last = (MirrorState(*row[:2]) for row in (rows[0], rows[-1]))
    changing = frozenset(snapshot for snapshot, _, is_changing in rows[1:] if is_changing)
    return _Snapshots(first, last, len(rows) == last.snapshot - first.snapshot + 1, changing)


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


def _has(connection: duckdb.DuckDBPyConnection, state: MirrorState) -> bool:
    """Whether a state is one of this lake, and its snapshot was not expired."""
    return connection.execute(_THEN, [state.snapshot]).fetchall() == [(state.committed_at,)]


def _fill_held(mirror: ListMirror, held: HeldLists, span: _Snapshots, now: datetime) -> FillReport | None:
    """Write lists that are held; None where they are not all that has changed since the first snapshot."""
    commits, present = held.since(span.first.snapshot, span.last.snapshot), span.last
    if not (span.are_whole and span.changing <= set(commits)):
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
