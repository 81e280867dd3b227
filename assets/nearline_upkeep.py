"""Keeps the files of the nearline lane's tables few, so that a batch costs the same after a day as after a minute.

Each batch adds a file to each of its tables, and a file of deletions to every file that holds a list it replaced. Put
together they are few again; no row changes. Snapshots of batches are forgotten after a while, with their files.

A batch pays for every file that holds one of its old lists. So lists are put together like the levels of a merge tree:
a round makes one file of those since the last round, every fourth round one of those since the fourth before it, and
so on; a list is written a few times, and files are some two dozen at most. A round is made in steps, so that no batch
waits for all of it; the last level, which writes every list of the lane, takes a share of the users in each. A step
reads its lists beside the next batch; only to put them in the place of the old ones it keeps the batch from writing.
"""

import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise

import duckdb

from assets.lake import Lake, Written, snapshot_of
from assets.lake_snapshots import snapshots_from
from assets.pending_days import add_up
from assets.recent_lists import EVERYBODY, Share, read_recent, replace_recent
from assets.source_positions import drop_old
from models.schema import LIST_FRESHNESS, QUARANTINE_ROWS, RAW_EVENTS, TOP_K, Table

EVERY = 16
"""Batches after which their lists are put together."""
FANOUT = 4
"""Rounds of one level that the next one puts together."""
LEVELS = 4
"""From the second on, files of all other tables are put together as well; the last one forgets old snapshots."""

_SHARES = tuple(pairwise(["", *"48c", ""]))
_SMALL_BYTES = 4 * 2**20
_MOSTLY_DELETED = 0.3
"""Share of a file's lists that are deleted when it is written anew."""
_APPENDED = (RAW_EVENTS, LIST_FRESHNESS, QUARANTINE_ROWS)
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

    def __init__(
        self,
        lake: Lake,
        surface: str,
        *,
        keep: timedelta,
        now: Callable[[], datetime],
        on_written: Callable[[int], None] = lambda snapshot: None,
    ) -> None:
        """Begin with nothing to do.

        Args:
            lake: The lake.
            surface: Surface of the lists.
            keep: How long snapshots of the nearline lane are kept, and files that they alone need.
            now: Clock of the edge, UTC without a zone.
            on_written: Told of each snapshot that a step made, before anybody else can write; no row differs in it.
        """
        self._lake, self._surface, self._on_written = lake, surface, on_written
        self._keep, self._now = keep, now
        self._lock = threading.Lock()
        """Of what `count` and a step both change."""
        self._batches = self._newest = 0
        # The first round is one of the last level and takes in what an earlier worker has left.
        self._rounds = FANOUT ** (LEVELS - 1) - 1
        self._since: list[int | None] = [None] * (LEVELS - 1) + [0]
        """By level: lists made from this snapshot on were in no round of it yet."""
        self._steps: deque[Callable[[], object]] = deque()
        """What is left of the round under way."""

    def count(self, snapshot: int) -> None:
        """A batch was committed as `snapshot`."""
        with self._lock:
            self._batches, self._newest = self._batches + 1, snapshot
            self._since = [snapshot - 1 if since is None else since for since in self._since]

    @property
    def is_due(self) -> bool:
        """Whether `run_if_due` would do anything."""
        return bool(self._steps) or self._batches >= EVERY

    def run_if_due(self) -> bool:
        """Take one step of a round, which begins when enough batches have gone by; returns whether it did.

        Another thread may count batches meanwhile, but only one may take steps.

        Raises:
            LakeError: the lake cannot be written; the next call tries the step again.
        """
        if not self.is_due:
            return False
        if not self._steps:
            self._begin()
        self._steps[0]()
        self._steps.popleft()
        return True

    def _begin(self) -> None:
        self._rounds += 1
        level = 0
        while level < LEVELS - 1 and self._rounds % FANOUT ** (level + 1) == 0:
            level += 1
        since = self._since[level]
        assert since is not None
        for share in _SHARES if level == LEVELS - 1 else (EVERYBODY,):
            self._steps.append(partial(self._put_together, level, since, share))
        if level:
            self._steps.append(partial(self._write, _add_up, "nearline days and positions added up"))
            self._steps.extend(partial(self._merge, table) for table in _APPENDED)
        if level == LEVELS - 1:
            self._steps.append(partial(self._write, _rewrite_lists, "nearline lists without deletions"))
            self._steps.append(self.forget_snapshots)

    def _put_together(self, level: int, since: int, share: Share) -> None:
        # Lists of a batch that is under way now are made from the newest snapshot that was counted, or a later one.
        with self._lock:
            batches, newest = self._batches, self._newest
        with self._lake.connect() as connection:
            read = read_recent(connection, self._surface, since, share)
            work = partial(replace_recent, surface=self._surface, read=read)
            self._write(work, "nearline lists put together", connection)
        is_first = not share[0]
        if is_first:
            # Lists that are committed before the last share is written are in the next round once more.
            with self._lock:
                self._since[: level + 1] = [newest] * (level + 1)
                self._batches -= batches

    def _merge(self, table: Table) -> None:
        self._write(partial(merge_appended, table=table), f"nearline {table.name} merged")

    def _write(
        self,
        work: Callable[[duckdb.DuckDBPyConnection], None],
        message: str,
        connection: duckdb.DuckDBPyConnection | None = None,
    ) -> None:
        def begun(connection: duckdb.DuckDBPyConnection) -> int:
            work(connection)
            return snapshot_of(connection)

        def committed(written: Written[int]) -> None:
            # Where there was nothing to do there is no snapshot of ours, and the newest may be anybody's.
            made = written.snapshot
            with self._lake.connect() as connection:
                found = [one.message for one in snapshots_from(connection, made) if one.id == made]
            if made > written.value and found == [message]:
                self._on_written(made)

        self._lake.write(begun, message=message, committed=committed, connection=connection)

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


def _add_up(connection: duckdb.DuckDBPyConnection) -> None:
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
