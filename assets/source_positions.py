"""How far each partition of a stream was read, and what became of its rows: `ops.nearline_positions`.

A batch appends a row, so that it need not look for the one before: of the rows of a partition the one with the most
`rows_in` counts. `drop_old` removes the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from models.nearline import Position
from models.schema import NEARLINE_POSITIONS

_LATEST = f"""
SELECT partition, position, epoch, rows_in, rows_accepted, rows_quarantined, rows_duplicate
FROM {NEARLINE_POSITIONS.qualified_name} WHERE source = ?
QUALIFY row_number() OVER (PARTITION BY partition ORDER BY rows_in DESC, updated_at DESC) = 1
"""
_OLD = f"""
DELETE FROM {NEARLINE_POSITIONS.qualified_name} AS old
WHERE rows_in < (
    SELECT max(rows_in) FROM {NEARLINE_POSITIONS.qualified_name} AS latest
    WHERE latest.source = old.source AND latest.partition = old.partition
)
"""


@dataclass(frozen=True)
class PartitionProgress:
    """Where a partition stands; `rows_in` is the sum of the three that follow it."""

    position: str
    epoch: int
    """Term of the leader that came so far."""
    rows_in: int
    rows_accepted: int
    rows_quarantined: int
    rows_duplicate: int


SourceProgress = Mapping[str, PartitionProgress]
"""Progress by partition."""


def read_progress(connection: duckdb.DuckDBPyConnection, source: str) -> SourceProgress:
    """How far each partition of a source was read."""
    found = connection.execute(_LATEST, [source]).fetchall()
    return {partition: PartitionProgress(*values) for partition, *values in found}


def read_positions(connection: duckdb.DuckDBPyConnection, source: str) -> Position:
    """The position of each partition of a source."""
    return {partition: progress.position for partition, progress in read_progress(connection, source).items()}


def drop_old(connection: duckdb.DuckDBPyConnection) -> None:
    """Remove the rows that count no more; inside a transaction."""
    connection.execute(_OLD)


class KnownProgress:
    """What a leader has written itself, so that it need not read it back while nobody else writes."""

    def __init__(self) -> None:
        self._by_source: dict[str, SourceProgress] = {}
        self._snapshot: int | None = None
        self._offered: tuple[str, SourceProgress] | None = None

    def of(self, source: str, connection: duckdb.DuckDBPyConnection, snapshot: int) -> SourceProgress:
        """How far a source was read at a snapshot, which the connection reads."""
        if snapshot != self._snapshot:
            self._by_source, self._snapshot = {}, snapshot
        if source not in self._by_source:
            self._by_source[source] = read_progress(connection, source)
        return self._by_source[source]

    def offer(self, source: str, progress: SourceProgress) -> None:
        """What a transaction writes; `written` takes it over once it is committed."""
        self._offered = source, progress

    def begin(self) -> None:
        """A transaction begins; it has offered nothing yet."""
        self._offered = None

    def written(self, snapshot: int) -> None:
        """Our transaction was committed as `snapshot`."""
        if self._snapshot == snapshot - 1:
            self._snapshot = snapshot
            if self._offered is not None:
                source, progress = self._offered
                self._by_source[source] = {**self._by_source.get(source, {}), **progress}
        self._offered = None

    def pass_over(self, snapshot: int) -> None:
        """A transaction that read no source was committed as `snapshot`."""
        if self._snapshot == snapshot - 1:
            self._snapshot = snapshot

    def forget(self) -> None:
        """Know nothing."""
        self._by_source, self._snapshot, self._offered = {}, None, None
