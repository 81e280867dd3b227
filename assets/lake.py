"""The lakehouse: the only place, besides dbt's profile, that opens DuckLake.

A SQLite catalogue takes one writer at a time, so every write transaction holds one lock that works across
processes; reads take none and are never blocked. Each write is one transaction, thus one snapshot.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import duckdb
import pandas as pd
from filelock import FileLock, Timeout

from assets.duckdb_engines import borrowed_connection
from assets.lake_errors import explained, patient, shown_cause
from assets.list_table import TOP_K_ITEMS_VIEW
from assets.scratch import scratch_name
from assets.sqlite_catalogue import let_readers_in, sqlite_file
from assets.table_migrations import renew_old_tables
from assets.table_options import set_group_rows
from models.errors import LakeError, LakeLockedError
from models.schema import TABLES, Table

BOOKKEEPING = ("ingested_at", "source_file", "source_row", "quarantined_at", "replayed_at", "built_at", "seconds")
"""Columns that say when or by which file a row came; two runs over the same input may differ in them."""

LAKE = "lake"
"""Name of the lake's database in a connection."""

_LOCK_POLL_S = 0.01

Result = TypeVar("Result")


@dataclass(frozen=True)
class Written(Generic[Result]):
    """What a write returned, and the snapshot that it made."""

    value: Result
    snapshot: int


@dataclass(frozen=True)
class Lake:
    """A DuckLake catalogue and the folder with its Parquet files."""

    catalogue: str
    """`sqlite:/path/catalogue.sqlite`, or `postgres:` and a libpq connection string."""

    data_path: Path
    """Folder of the Parquet files."""

    lock_path: Path
    """File whose lock a writer holds."""

    lock_timeout_s: float = 60.0
    """How long a writer waits for the lock before it gives up."""

    memory_limit: str = "2GB"
    """Memory of one connection; beyond it DuckDB spills to disk beside the data."""

    threads: int = 0
    """Threads of one connection; 0: one for each core."""

    @property
    def staging_path(self) -> Path:
        """Folder for files that live only during a write; what a killed process left there may be deleted."""
        return self.data_path.parent / "staging"

    @property
    def store(self) -> str:
        """DuckDB extension of the catalogue's database."""
        return "postgres_scanner" if self.catalogue.startswith("postgres:") else "sqlite_scanner"

    @property
    def spill_path(self) -> Path:
        """Folder of this process for what does not fit in memory."""
        return self.staging_path / f"{scratch_name()}spill"

    @contextmanager
    def connect(self, *, snapshot: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open a connection in which the lake is the default database.

        Args:
            snapshot: Read the lake as it was at this snapshot.

        Raises:
            LakeError: the catalogue cannot be opened.
        """
        with borrowed_connection(self.store, LAKE, self.spill_path) as connection:
            self.attach(connection, snapshot)
            use_lake(connection)
            yield connection

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the write lock; it may be taken again by the same lock object only.

        Raises:
            LakeLockedError: another process held it for longer than `lock_timeout_s`.
        """
        self.lock_path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.lock_path, self.lock_timeout_s, is_singleton=True, poll_interval=_LOCK_POLL_S):
                yield
        except Timeout as error:
            raise LakeLockedError(
                f"another process has held the write lock {self.lock_path} for over {self.lock_timeout_s:g} s; "
                "wait for its run to end (`freshet status` shows runs), or stop that process"
            ) from error

    def write(
        self,
        work: Callable[[duckdb.DuckDBPyConnection], Result],
        *,
        message: str,
        committed: Callable[[Written[Result]], None] = lambda written: None,
        connection: duckdb.DuckDBPyConnection | None = None,
    ) -> Written[Result]:
        """Run `work` in one transaction, under the lock; it is run again from its start after a conflict.

        Args:
            work: Writes through the connection it gets. It must not have effects outside the lake, since it may
                run more than once.
            message: Commit message, readable in the snapshots of the lake.
            committed: Told what was written before the lock is given back, so before the next writer begins.
            connection: A connection of this lake with temporary tables that `work` reads; one of its own by default.

        Raises:
            LakeLockedError: the lock or the catalogue stayed busy.
            LakeFullError: the disk is full; nothing was committed.
        """
        with self.lock():
            try:
                written = patient(0.2, longest_s=5)(self._transaction, work, message, connection)
            except duckdb.Error as error:
                raise explained(error, self.catalogue, self.data_path) from shown_cause(error)
            committed(written)
            return written

    def create_tables(self) -> None:
        """Create the schemas, the tables of `models.schema` and the unnested view of the lists, where missing."""

        def create(connection: duckdb.DuckDBPyConnection) -> None:
            for schema in sorted({table.schema for table in TABLES}):
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            for table in TABLES:
                connection.execute(f"CREATE TABLE IF NOT EXISTS {table.qualified_name} ({column_sql(table)})")
            renew_old_tables(connection, {table: column_sql(table) for table in TABLES})
            connection.execute(TOP_K_ITEMS_VIEW)

        self.data_path.mkdir(parents=True, exist_ok=True)
        if (file := sqlite_file(self.catalogue)) is not None:
            with self.lock():
                let_readers_in(file)
        self.write(create, message="create tables")
        self.write(set_group_rows, message="group rows of tables")

    def frame(self, sql: str, parameters: Sequence[Any] | None = None, *, snapshot: int | None = None) -> pd.DataFrame:
        """Result of a query as a frame; asked again where a commit locks the catalogue meanwhile."""

        def read() -> pd.DataFrame:
            with self.connect(snapshot=snapshot) as connection:
                return connection.execute(sql, parameters or []).df()

        return patient(0.05, longest_s=1)(read)

    def replace_table(self, table: Table, frame: pd.DataFrame, *, message: str = "") -> int:
        """Replace all rows of a table in one transaction and return the snapshot.

        Raises:
            LakeError: a column of the table is missing from the frame.
        """
        missing = [name for name in table.column_names if name not in frame.columns]
        if missing:
            raise LakeError(f"cannot write {table.qualified_name}: the frame lacks {', '.join(missing)}")

        def replace(connection: duckdb.DuckDBPyConnection) -> None:
            connection.execute(f"DELETE FROM {table.qualified_name}")
            append_frame(connection, table, frame)

        return self.write(replace, message=message or f"replace {table.qualified_name}").snapshot

    def fingerprint(self, table: str, *, exclude: Sequence[str] = BOOKKEEPING, where: str = "true") -> str:
        """Hash of a table's content, whatever the order of its rows; `absent` for a table that is not there."""
        with self.connect() as connection:
            schema, name = table.split(".")
            columns = connection.execute(
                "SELECT column_name FROM information_schema.columns "
                "WHERE table_catalog = 'lake' AND table_schema = ? AND table_name = ? ORDER BY ordinal_position",
                [schema, name],
            ).fetchall()
            kept = ", ".join(f'"{column}"' for (column,) in columns if column not in exclude)
            if not columns:
                return "absent"
            sql = f"SELECT count(*), coalesce(sum(hash({kept})::HUGEINT), 0) FROM {table} WHERE {where}"
            rows, total = connection.execute(sql).fetchall()[0]
        return f"{rows}-{total:x}"

    def files_of(self, tables: Sequence[str], snapshot: int) -> list[tuple[str, str, str]]:
        """Table, data file and file of deletions of all that tables consist of at a snapshot.

        Files are never changed, and no rows are kept elsewhere, so equal files mean equal tables.
        """
        sql = "SELECT data_file, coalesce(delete_file, '') FROM ducklake_list_files('lake', ?, schema => ?, {at})"
        found = []
        with self.connect() as connection:
            for table in tables:
                schema, name = table.split(".")
                rows = connection.execute(sql.format(at=f"snapshot_version => {snapshot}"), [name, schema]).fetchall()
                found += [(table, data, deletions) for data, deletions in rows]
        return sorted(found)

    def current_snapshot(self) -> int:
        """Id of the newest snapshot."""
        with self.connect() as connection:
            return snapshot_of(connection)

    def remove_orphans(self) -> int:
        """Delete data files that no snapshot knows, left by a process killed before its commit.

        Only safe where every writer takes this lock, as with a SQLite catalogue.

        Returns:
            Number of files deleted.
        """
        with self.lock(), self.connect() as connection:
            return len(
                connection.execute("CALL ducklake_delete_orphaned_files('lake', cleanup_all => true)").fetchall()
            )

    def attach(self, connection: duckdb.DuckDBPyConnection, snapshot: int | None = None) -> None:
        """Attach the lake as the database `LAKE`.

        Raises:
            LakeError: the catalogue cannot be opened.
        """
        connection.execute(f"SET memory_limit = '{self.memory_limit}'")
        connection.execute(f"SET threads = {self.threads}" if self.threads else "RESET threads")
        if (file := sqlite_file(self.catalogue)) is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        options = [f"DATA_PATH '{self.data_path}/'", "DATA_INLINING_ROW_LIMIT 0"]
        if snapshot is not None:
            options = [f"SNAPSHOT_VERSION {snapshot}"]
        location = self.catalogue.replace("'", "''")
        try:
            connection.execute(f"ATTACH 'ducklake:{location}' AS {LAKE} ({', '.join(options)})")
        except duckdb.Error as error:
            raise explained(error, self.catalogue, self.data_path) from shown_cause(error)

    def _transaction(
        self,
        work: Callable[[duckdb.DuckDBPyConnection], Result],
        message: str,
        given: duckdb.DuckDBPyConnection | None,
    ) -> Written[Result]:
        with self.connect() if given is None else nullcontext(given) as connection:
            connection.execute("BEGIN")
            try:
                value = work(connection)
                connection.execute("CALL lake.set_commit_message('freshet', ?)", [message])
                connection.execute("COMMIT")
            except BaseException:
                roll_back(connection)
                raise
            return Written(value, snapshot_of(connection))


def append_frame(connection: duckdb.DuckDBPyConnection, table: Table, frame: pd.DataFrame) -> None:
    """Insert a frame's rows into a table by column name, in the frame's order."""
    if frame.empty:
        return
    connection.register("appended", frame)
    names = ", ".join(f'"{name}"' for name in table.column_names)
    values = ", ".join(f'CAST("{column.name}" AS {column.type})' for column in table.columns)
    connection.execute(f"INSERT INTO {table.qualified_name} ({names}) SELECT {values} FROM appended")
    connection.unregister("appended")


def column_sql(table: Table, *, with_constraints: bool = True) -> str:
    """Column list of a `CREATE TABLE`."""
    is_required = {column.name for column in table.columns if column.is_required and with_constraints}
    return ", ".join(f'"{c.name}" {c.type}{" NOT NULL" if c.name in is_required else ""}' for c in table.columns)


def snapshot_of(connection: duckdb.DuckDBPyConnection) -> int:
    """Id of the snapshot that a connection, or its transaction, reads."""
    return int(connection.execute("FROM ducklake_current_snapshot('lake')").fetchall()[0][0])


def roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    """End the transaction that an error has left open, if any; the error that led here is the one to report."""
    try:
        connection.execute("ROLLBACK")
    except duckdb.Error:
        # A failed COMMIT has ended it already, or the catalogue is gone and there is nothing left to end.
        return


def use_lake(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the lake the default database; its catalogue is read then, and a commit may lock it for a moment."""
    patient(0.05, longest_s=1)(connection.execute, f"USE {LAKE}")
