"""One transaction per landing file: its new rows, its quarantined rows, the days it touched and its record.

Either all of a file is in the lake or nothing of it, so a killed process is simply run again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from assets.known_events import KnownEvents, new_rows
from assets.landing_zone import LandingFile
from assets.pending_days import mark_pending
from models.errors import DataError
from models.schema import RAW_EVENTS, RAW_ITEMS, RAW_USERS, Table
from quality.landing_columns import Kind

RAW_TABLES: dict[Kind, Table] = {"events": RAW_EVENTS, "items": RAW_ITEMS, "users": RAW_USERS}


@dataclass(frozen=True)
class StagedFile:
    """A landing file after parsing: two local Parquet files, and how many rows were read."""

    file: LandingFile
    accepted: Path
    quarantined: Path
    rows_in: int


@dataclass(frozen=True)
class FileReport:
    """What became of the rows of one file; `rows_in` is the sum of the other three."""

    name: str
    kind: Kind
    file_hash: str
    rows_in: int
    rows_accepted: int
    rows_quarantined: int
    rows_duplicate: int
    first_day: date | None
    last_day: date | None
    quarantined_by_rule: dict[str, int]
    days_touched: tuple[date, ...]
    ignored_columns: tuple[str, ...] = ()


def commit_file(
    staged: StagedFile, received_at: datetime, known: KnownEvents | None = None
) -> Callable[[duckdb.DuckDBPyConnection], FileReport | None]:
    """The work of `Lake.write` for one staged file; it answers None when another process was first.

    Args:
        staged: The file.
        received_at: Moment of reception, UTC without a zone.
        known: As of `insert_new_rows`.
    """

    def work(connection: duckdb.DuckDBPyConnection) -> FileReport | None:
        # By kind too: one wide file may have been landed both as events and as items.
        identity = [staged.file.file_hash, staged.file.kind]
        seen = connection.execute("SELECT 1 FROM ops.files WHERE file_hash = ? AND kind = ?", identity).fetchall()
        return None if seen else _add_file(connection, staged, received_at, known)

    return work


def insert_new_rows(
    connection: duckdb.DuckDBPyConnection,
    kind: Kind,
    accepted: str,
    received_at: datetime,
    *,
    source_file: str,
    source_row: str = "source_row",
    known: KnownEvents | None = None,
) -> tuple[int, tuple[date, ...]]:
    """Insert rows whose key is not in the lake yet, the first of equal ones, and mark their days as pending.

    Args:
        connection: Inside a transaction.
        kind: Which raw table.
        accepted: SQL relation with the staged columns of that kind; its `source_row` is unique.
        received_at: Becomes `ingested_at`.
        source_file: SQL expression of the file's name.
        source_row: SQL expression of the row's number in that file.
        known: Of events, what raw holds at the snapshot of the transaction; None: the lake is asked.

    Returns:
        Number of rows inserted, and the event days among them.
    """
    table = RAW_TABLES[kind]
    if known is None or kind != "events":
        key = ", ".join(table.key)
        same_key = " AND ".join(f"kept.{name} = first.{name}" for name in table.key)
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE fresh AS SELECT source_row FROM "
            f"(SELECT {key}, min(source_row) AS source_row FROM {accepted} GROUP BY {key}) AS first "
            f"WHERE NOT EXISTS (SELECT 1 FROM {table.qualified_name} AS kept WHERE {same_key})"
        )
    else:
        connection.register("new_rows", pa.table({"source_row": new_rows(connection, accepted, known)}))
        connection.execute("CREATE OR REPLACE TEMP TABLE fresh AS FROM new_rows")
        connection.unregister("new_rows")
    computed = {
        "event_day": "CAST(event_at AS DATE)",
        "ingested_at": "CAST(? AS TIMESTAMP)",
        "source_file": source_file,
        "source_row": source_row,
    }
    values = ", ".join(computed.get(name, name) for name in table.column_names)
    order = "event_at, source_row" if kind == "events" else "source_row"
    inserted = _count(
        connection,
        f"INSERT INTO {table.qualified_name} ({', '.join(table.column_names)}) "
        f"SELECT {values} FROM {accepted} SEMI JOIN fresh USING (source_row) ORDER BY {order}",
        [received_at],
    )
    if kind != "events" or not inserted:
        return inserted, ()
    touched = connection.execute(
        f"SELECT event_at::DATE AS event_day, count(*) FROM {accepted} SEMI JOIN fresh USING (source_row) "
        "GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    mark_pending(connection, dict(touched))
    return inserted, tuple(day for day, _ in touched)


def _add_file(
    connection: duckdb.DuckDBPyConnection, staged: StagedFile, received_at: datetime, known: KnownEvents | None
) -> FileReport:
    file = staged.file
    accepted = parquet_relation(staged.accepted)
    added, days = insert_new_rows(
        connection, file.kind, accepted, received_at, source_file=text_literal(file.name), known=known
    )
    quarantined = insert_quarantined_rows(
        connection,
        file.kind,
        parquet_relation(staged.quarantined),
        received_at,
        file_hash=text_literal(file.file_hash),
        source_file=text_literal(file.name),
    )
    sound = _count(connection, f"SELECT count(*) FROM {accepted}")
    span = "min(event_at)::DATE, max(event_at)::DATE" if file.kind == "events" else "NULL, NULL"
    first_day, last_day = connection.execute(f"SELECT {span} FROM {accepted}").fetchall()[0]
    by_rule = connection.execute(
        f"SELECT rule, count(*) FROM {parquet_relation(staged.quarantined)} GROUP BY rule ORDER BY 2 DESC, 1"
    ).fetchall()
    report = FileReport(
        name=file.name,
        kind=file.kind,
        file_hash=file.file_hash,
        rows_in=staged.rows_in,
        rows_accepted=added,
        rows_quarantined=quarantined,
        rows_duplicate=sound - added,
        first_day=first_day,
        last_day=last_day,
        quarantined_by_rule=dict(by_rule),
        days_touched=days,
    )
    _record(connection, report, received_at)
    return report


def insert_quarantined_rows(
    connection: duckdb.DuckDBPyConnection,
    kind: Kind,
    quarantined: str,
    received_at: datetime,
    *,
    file_hash: str,
    source_file: str,
    source_row: str = "source_row",
) -> int:
    """Insert refused rows; returns their number.

    Args:
        connection: Inside a transaction.
        kind: Kind of the rows.
        quarantined: SQL relation with the columns of `assets.row_staging.QUARANTINED_SCHEMA`.
        received_at: Becomes `quarantined_at`.
        file_hash: SQL expression of what identifies the file, or the stream.
        source_file: SQL expression of its name.
        source_row: SQL expression of the row's number in it.
    """
    return _count(
        connection,
        "INSERT INTO quarantine.rows (row_id, kind, rule, column_name, value, payload, file_hash, source_file, "
        "source_row, quarantined_at, status, replayed_at) "
        f"SELECT sha256(concat_ws(':', $1::VARCHAR, {file_hash}, ({source_row})::VARCHAR, rule))[:32], $1::VARCHAR, "
        f"rule, column_name, value, payload, {file_hash}, {source_file}, {source_row}, $2::TIMESTAMP, 'open', NULL "
        f"FROM {quarantined} ORDER BY {source_row}",
        [kind, received_at],
    )


def _record(connection: duckdb.DuckDBPyConnection, report: FileReport, received_at: datetime) -> None:
    accounted = report.rows_accepted + report.rows_quarantined + report.rows_duplicate
    if accounted != report.rows_in or report.rows_duplicate < 0:
        raise DataError(
            f"{report.name}: {report.rows_in} rows were read but {accounted} are accounted for "
            f"({report.rows_accepted} accepted, {report.rows_quarantined} quarantined, {report.rows_duplicate} "
            "duplicate); nothing of the file was committed; please report this with the file"
        )
    connection.execute(
        "INSERT INTO ops.files (file_hash, file_name, kind, rows_in, rows_accepted, rows_quarantined, rows_duplicate, "
        "first_day, last_day, ingested_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            report.file_hash,
            report.name,
            report.kind,
            report.rows_in,
            report.rows_accepted,
            report.rows_quarantined,
            report.rows_duplicate,
            report.first_day,
            report.last_day,
            received_at,
        ],
    )


def parquet_relation(path: Path) -> str:
    """SQL relation that reads a Parquet file."""
    return f"read_parquet({text_literal(str(path))})"


def text_literal(text: str) -> str:
    """SQL literal of a text."""
    return "'" + text.replace("'", "''") + "'"


def _count(connection: duckdb.DuckDBPyConnection, sql: str, parameters: list[object] | None = None) -> int:
    return int(connection.execute(sql, parameters or []).fetchall()[0][0])
