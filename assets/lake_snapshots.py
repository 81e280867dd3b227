"""The newest snapshots of the lake, read from the tables of its catalogue.

The function `ducklake_snapshots` reads and takes apart all there are, which takes 70 ms where a worker has made 2,000,
and a worker asks all the time. Source: the DuckLake specification, tables `ducklake_snapshot`, `ducklake_table` and
`ducklake_snapshot_changes`.
"""

from dataclasses import dataclass

import duckdb

_CATALOGUE = "__ducklake_metadata_lake"
_FROM = f"""
SELECT
    snapshot_id, epoch_us(s.snapshot_time::TIMESTAMPTZ), coalesce(c.changes_made, ''), coalesce(c.commit_message, '')
FROM {_CATALOGUE}.ducklake_snapshot AS s LEFT JOIN {_CATALOGUE}.ducklake_snapshot_changes AS c USING (snapshot_id)
WHERE s.snapshot_id >= coalesce(?, (SELECT id FROM ducklake_current_snapshot('lake')))
ORDER BY snapshot_id
"""
_TABLE = f"SELECT table_id FROM {_CATALOGUE}.ducklake_table WHERE table_name = ? AND end_snapshot IS NULL"


@dataclass(frozen=True)
class Snapshot:
    """One commit of the lake."""

    id: int
    committed_at: int
    """Microseconds since 1970 UTC."""
    changes: frozenset[str]
    """Such as `inserted_into_table:14`."""
    message: str

    def changes_rows_of(self, table_id: int | None) -> bool:
        """Whether it inserted into a table, or deleted from it; not where there is no table."""
        return not self.changes.isdisjoint({f"inserted_into_table:{table_id}", f"deleted_from_table:{table_id}"})


def snapshots_from(connection: duckdb.DuckDBPyConnection, first: int | None) -> list[Snapshot]:
    """All snapshots from one on that were not expired, oldest first; None: the newest alone.

    Args:
        connection: With the lake attached.
        first: Id of the first one.
    """
    rows = connection.execute(_FROM, [first]).fetchall()
    return [Snapshot(id_, at, frozenset(changes.split(",")), message) for id_, at, changes, message in rows]


def table_id(connection: duckdb.DuckDBPyConnection, name: str) -> int | None:
    """Id of the table of this name, as `Snapshot.changes` has it; None without one."""
    row = connection.execute(_TABLE, [name]).fetchone()
    return None if row is None else int(row[0])
