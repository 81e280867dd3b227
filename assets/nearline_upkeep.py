"""Keeps the files of the nearline lane's tables few, so that a batch costs the same after a day as after a minute.

Each batch adds a file to each of its tables, and a file of deletions to every file that holds a list it replaced. Put
together they are few again; no row changes. Snapshots of batches are forgotten after a while, with their files.

Lists are put together in two tiers, since a batch pays for every file that holds one of its old lists: a round makes
one file of those since the last round, and one round of several makes one of those since the last such round. A round
is made in steps, so that no batch waits for all of it.
"""

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import duckdb

from assets.lake import Lake
from assets.pending_days import add_up
from assets.source_positions import drop_old
from models.schema import LIST_FRESHNESS, QUARANTINE_ROWS, RAW_EVENTS, TOP_K, Table

EVERY = 24
"""Batches after which their files are put together; a third of it where no events wait."""
THOROUGH = 10
"""Of so many rounds one puts the lists of all of them together, and forgets old snapshots."""

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
        """Lists made from this snapshot on were in no round yet."""
        self._since_thorough: int | None = None
        """Lists made from this snapshot on were in no thorough round yet."""
        self._steps: deque[Callable[[], object]] = deque()
        """What is left of the round under way."""

    def count(self, snapshot: int) -> None:
        """A batch was committed as `snapshot`."""
        self._batches += 1
        if self._since is None:
            self._since = snapshot - 1
        if self._since_thorough is None:
            self._since_thorough = snapshot - 1

    def run_if_due(self, *, is_idle: bool) -> bool:
        """Take one step of a round, which begins when enough batches have gone by; returns whether it did.

        Raises:
            LakeError: the lake cannot be written; the next call tries the step again.
        """
        if not self._steps and not self._begin(EVERY // 3 if is_idle else EVERY):
            return False
        self._steps[0]()
        self._steps.popleft()
        return True

    def _begin(self, batches: int) -> bool:
        if self._since is None or self._batches < batches:
            return False
        self._rounds += 1
        self._steps.append(self._put_together)
        self._steps.extend(partial(self._merge, table) for table in _APPENDED)
        if self._is_thorough:
            rewrite = partial(self._lake.write, _rewrite_lists, message="nearline lists without deletions")
            self._steps.extend([rewrite, self.forget_snapshots])
        return True

    @property
    def _is_thorough(self) -> bool:
        return self._rounds % THOROUGH == 0

    def _put_together(self) -> None:
        since = self._since_thorough if self._is_thorough else self._since
        assert since is not None
        work = partial(self._put_lists_together, since=since)
        made = self._lake.write(work, message="nearline lists put together").snapshot
        self._since, self._batches = made, 0
        if self._is_thorough:
            self._since_thorough = made

    def _merge(self, table: Table) -> None:
        self._lake.write(partial(merge_appended, table=table), message=f"nearline {table.name} merged")

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

    def _put_lists_together(self, connection: duckdb.DuckDBPyConnection, since: int) -> None:
        chosen = [self._surface, since]
        connection.execute(f"CREATE OR REPLACE TEMP TABLE recent_lists AS {_RECENT}", chosen)
        connection.execute(f"DELETE {_RECENT}", chosen)
        connection.execute(f"INSERT INTO {TOP_K.qualified_name} FROM recent_lists ORDER BY user_id")
        connection.execute("DROP TABLE recent_lists")
        add_up(connection)
        drop_old(connection)


def merge_appended(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """One file in the place of many small ones of a table that only grows; inside a transaction."""
    connection.execute(f"CALL ducklake_merge_adjacent_files('lake', {_named(table)}, max_file_size => {_SMALL_BYTES})")


def _rewrite_lists(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        f"CALL ducklake_rewrite_data_files('lake', {_named(TOP_K)}, delete_threshold => {_MOSTLY_DELETED})"
    )


def _named(table: Table) -> str:
    return f"'{table.name}', schema => '{table.schema}'"
