"""A lake whose connections stay attached, for a process that asks it several times a second.

Attaching reads the catalogue's schema anew, which takes longer than most queries of a nearline batch. What an attached
catalogue keeps of each snapshot is never given up, so a connection is attached anew after a number of uses.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from queue import Empty, SimpleQueue

import duckdb

from assets.duckdb_engines import give_back_engine, take_engine
from assets.lake import LAKE, Lake, roll_back, snapshot_of, use_lake

USES = 300
"""Connections after which an engine is attached anew."""


@dataclass
class _Attached:
    engine: duckdb.DuckDBPyConnection
    uses: int = 0


@dataclass(frozen=True)
class WarmLake(Lake):
    """A lake for one process; threads get connections of their own."""

    _idle: SimpleQueue[_Attached] = field(default_factory=SimpleQueue, repr=False, compare=False)

    @contextmanager
    def connect(self, *, snapshot: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection in which the lake is the default database; temporary tables and views end with it.

        Args:
            snapshot: Read the lake as it was at this snapshot; the newest one costs no new attachment.

        Raises:
            LakeError: the catalogue cannot be opened.
        """
        with self._attached() as connection:
            if snapshot is None:
                yield connection
                return
            # A transaction reads one snapshot, whatever is committed meanwhile.
            connection.execute("BEGIN")
            is_newest = snapshot_of(connection) == snapshot
            if is_newest:
                yield connection
            connection.execute("ROLLBACK")
        if not is_newest:
            with super().connect(snapshot=snapshot) as past:
                yield past

    def close(self) -> None:
        """Give up the connections that nobody uses."""
        while (attached := self._taken()) is not None:
            self._detach(attached)

    @contextmanager
    def _attached(self) -> Iterator[duckdb.DuckDBPyConnection]:
        attached = self._taken() or self._opened()
        connection = attached.engine.cursor()
        try:
            use_lake(connection)
            yield connection
        except duckdb.Error:
            # It may be the connection to the catalogue that is broken; closed within a transaction, it may abort.
            attached.uses = USES
            roll_back(connection)
            raise
        finally:
            connection.close()
            attached.uses += 1
            if attached.uses < USES:
                self._idle.put(attached)
            else:
                self._detach(attached)

    def _taken(self) -> _Attached | None:
        try:
            return self._idle.get_nowait()
        except Empty:
            return None

    def _opened(self) -> _Attached:
        engine = take_engine(self.store, self.spill_path)
        try:
            self.attach(engine)
        except BaseException:
            give_back_engine(engine, self.store, self.spill_path, LAKE)
            raise
        return _Attached(engine)

    def _detach(self, attached: _Attached) -> None:
        give_back_engine(attached.engine, self.store, self.spill_path, LAKE)


def warmed(lake: Lake) -> WarmLake:
    """The same lake with connections that stay, on one thread: enough for small statements, and others find a core."""
    own = {entry.name: getattr(lake, entry.name) for entry in fields(Lake)}
    return WarmLake(**{**own, "threads": 1})
