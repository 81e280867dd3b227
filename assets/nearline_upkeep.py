"""Keeps the files of the nearline lane's tables few, so that a batch costs the same after a day as after a minute.

Each batch adds a file to each of its tables, and a file of deletions to every file that holds a list it replaced. Put
together they are few again; no row changes. Snapshots of batches are forgotten after a while, with their files.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import duckdb

from assets.lake import Lake
from models.schema import LIST_FRESHNESS, QUARANTINE_ROWS, RAW_EVENTS, TOP_K, Table

EVERY = 24
"""Batches after which their files are put together; a third of it where no events wait."""
THOROUGH = 10
"""Of so many rounds one also rewrites files that are mostly deletions, and forgets old snapshots."""

_SMALL_BYTES = 4 * 2**20
_MOSTLY_DELETED = 0.3
_APPENDED = (RAW_EVENTS, LIST_FRESHNESS, QUARANTINE_ROWS)
_RECENT = f"FROM {TOP_K.qualified_name} WHERE surface = ? AND lane = 'nearline' AND input_snapshot >= ?"
# What a list or a build of the batch lane names as its input stays readable.
_OLD = f"""
SELECT snapshot_id FROM ducklake_snapshots('lake')
WHERE
    starts_with(commit_message, 'nearline ') AND epoch(snapshot_time) < ?
    AND snapshot_id < (SELECT max(snapshot_id) FROM ducklake_snapshots('lake'))
    AND snapshot_id NOT IN (SELECT input_snapshot FROM {TOP_K.qualified_name} WHERE lane = 'batch')
    AND snapshot_id NOT IN (SELECT snapshot FROM ops.builds WHERE snapshot IS NOT NULL)
"""


class Upkeep:
    """Upkeep of one lake by the worker that leads."""

    def __init__(self, lake: Lake, surface: str, *, keep: timedelta, now: Callable[[], datetime]) -> None:
        """Begin with nothing to do.

        Args:
            lake: The lake.
            surface: Surface of the lists.
            keep: How long snapshots of the nearline lane are kept, and files that they alone need.
            now: Clock of the edge, UTC without a zone.
        """
        self._lake, self._surface = lake, surface
        self._keep, self._now = keep, now
        self._batches = self._rounds = 0
        self._since: int | None = None
        """Lists made from this snapshot on are not put together yet."""

    def count(self, snapshot: int) -> None:
        """A batch was committed as `snapshot`."""
        self._batches += 1
        if self._since is None:
            self._since = snapshot - 1

    def run_if_due(self, *, is_idle: bool) -> bool:
        """Put files together when enough batches have gone by; returns whether it did.

        Raises:
            LakeError: the lake cannot be written; the next call tries again.
        """
        if self._since is None or self._batches < (EVERY // 3 if is_idle else EVERY):
            return False
        written = self._lake.write(self._put_lists_together, message="nearline lists put together")
        self._lake.write(_merge_appended, message="nearline files merged")
        self._rounds += 1
        if self._rounds % THOROUGH == 0:
            self._lake.write(_rewrite_lists, message="nearline lists without deletions")
            self.forget_snapshots()
        self._since, self._batches = written.snapshot, 0
        return True

    def forget_snapshots(self) -> int:
        """Forget the nearline lane's snapshots that are older than `keep`; returns how many."""
        oldest = (self._now() - self._keep - datetime(1970, 1, 1)).total_seconds()
        with self._lake.lock(), self._lake.connect() as connection:
            old = [snapshot for (snapshot,) in connection.execute(_OLD, [oldest]).fetchall()]
            if old:
                connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => {old})")
            before = (self._now() - self._keep).isoformat(sep=" ")
            connection.execute(f"CALL ducklake_cleanup_old_files('lake', older_than => TIMESTAMPTZ '{before}+00')")
        return len(old)

    def _put_lists_together(self, connection: duckdb.DuckDBPyConnection) -> None:
        chosen = [self._surface, self._since]
        connection.execute(f"CREATE OR REPLACE TEMP TABLE recent_lists AS {_RECENT}", chosen)
        connection.execute(f"DELETE {_RECENT}", chosen)
        connection.execute(f"INSERT INTO {TOP_K.qualified_name} FROM recent_lists ORDER BY user_id")


def _merge_appended(connection: duckdb.DuckDBPyConnection) -> None:
    for table in _APPENDED:
        connection.execute(
            f"CALL ducklake_merge_adjacent_files('lake', {_named(table)}, max_file_size => {_SMALL_BYTES})"
        )


def _rewrite_lists(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        f"CALL ducklake_rewrite_data_files('lake', {_named(TOP_K)}, delete_threshold => {_MOSTLY_DELETED})"
    )


def _named(table: Table) -> str:
    return f"'{table.name}', schema => '{table.schema}'"
