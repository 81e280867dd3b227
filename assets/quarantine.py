"""The quarantine: what was refused and why, and another try under today's rules.

A replay reads the canonical row that the quarantine kept. It accepts rows that pass now, for instance after the
domain learned an event type or after a source's clock was overtaken, and settles rows whose event has come in
meanwhile with a corrected file. Rows whose cells were cut cannot be replayed: land the corrected file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from assets.domain import Domain
from assets.ingest_commit import insert_new_rows, parquet_relation
from assets.lake import Lake
from assets.row_staging import CUT_CELLS, STAGED_SCHEMAS, stage_rows
from models.schema import QUARANTINE_ROWS
from quality.landing_columns import KINDS, LANDING_COLUMNS, ROW_ERROR, Kind
from quality.row_rules import RuleContext

_BATCH_ROWS = 50_000

_ORIGIN = pa.schema([("row_id", pa.string()), ("origin_file", pa.string()), ("origin_row", pa.int64())])
"""Where a replayed row came from; its `source_row` only numbers the rows of the replay."""

_OPEN_ROWS = """
SELECT
    row_id, payload, source_file, source_row,
    kind = 'events' AND coalesce(payload ->> 'event_id' IN (SELECT event_id FROM raw.events), false) AS is_corrected
FROM quarantine.rows
WHERE status = 'open' AND kind = $1 AND ($2::VARCHAR IS NULL OR rule = $2) ORDER BY row_id
"""


@dataclass(frozen=True)
class ReplayReport:
    """What a replay did; `open_before` is the sum of the other three counts."""

    open_before: int
    accepted: int
    """Rows added to raw."""

    duplicate: int
    """Rows whose content is in raw already; they are settled too."""

    still_open: int
    days_touched: tuple[date, ...]


def list_rows(lake: Lake, *, rule: str | None = None, status: str = "open", limit: int = 100) -> pd.DataFrame:
    """Quarantined rows, latest first.

    Args:
        lake: The lake.
        rule: Only rows that broke this rule.
        status: `open` or `replayed`.
        limit: Most rows to return.

    Returns:
        The columns of `quarantine.rows`.
    """
    columns = ", ".join(f'"{name}"' for name in QUARANTINE_ROWS.column_names)
    return lake.frame(
        f"SELECT {columns} FROM quarantine.rows WHERE status = $1 AND ($2::VARCHAR IS NULL OR rule = $2) "
        "ORDER BY quarantined_at DESC, source_file, source_row LIMIT $3",
        [status, rule, limit],
    )


def count_by_rule(lake: Lake) -> pd.DataFrame:
    """Quarantined rows by `kind`, `rule` and `column_name`, most first: `rows`, of which `open` and `replayed`."""
    return lake.frame(
        "SELECT kind, rule, column_name, count(*) AS rows, count(*) FILTER (status = 'open') AS open, "
        "count(*) FILTER (status = 'replayed') AS replayed "
        "FROM quarantine.rows GROUP BY kind, rule, column_name ORDER BY count(*) DESC, kind, rule, column_name"
    )


def replay(lake: Lake, domain: Domain, *, as_of: datetime, rule: str | None = None) -> ReplayReport:
    """Try the open rows again and accept those that break no rule any more.

    One transaction for each kind; run again with nothing changed, it changes nothing.

    Args:
        lake: The lake.
        domain: Today's event types and pattern of item ids.
        as_of: The present moment; without a zone it is UTC.
        rule: Only rows that broke this rule.
    """
    moment = as_of.astimezone(UTC).replace(tzinfo=None) if as_of.tzinfo else as_of
    context = RuleContext(moment, frozenset(domain.event_weights), domain.item_id_pattern)
    totals = [0, 0, 0]
    days: set[date] = set()
    for kind in KINDS:
        rows = lake.frame(_OPEN_ROWS, [kind, rule])
        totals[0] += len(rows)
        with TemporaryDirectory() as folder:
            candidates = Path(folder) / "candidates.parquet"
            corrected = rows[rows["is_corrected"]]
            if not _stage(kind, rows[~rows["is_corrected"]], context, candidates) and corrected.empty:
                continue
            work = partial(_accept, kind=kind, candidates=candidates, corrected=corrected, moment=moment)
            accepted, settled, touched = lake.write(work, message=f"replay quarantined {kind}").value
        totals[1] += accepted
        totals[2] += settled - accepted
        days.update(touched)
    before, added, duplicate = totals
    return ReplayReport(before, added, duplicate, before - added - duplicate, tuple(sorted(days)))


def _stage(kind: Kind, rows: pd.DataFrame, context: RuleContext, target: Path) -> int:
    """Write the rows that pass now, with their row ids, and return how many."""
    schema = pa.schema([*STAGED_SCHEMAS[kind], *_ORIGIN])
    count = 0
    with pq.ParquetWriter(target, schema) as writer:
        for start in range(0, len(rows), _BATCH_ROWS):
            batch = rows.iloc[start : start + _BATCH_ROWS]
            payloads = [orjson.loads(payload) for payload in batch["payload"]]
            staged = stage_rows(kind, _cells(kind, payloads), context, first_row=start + 1, key=None).accepted
            positions = [number - start - 1 for number in staged.column("source_row").to_pylist()]
            for field, column in zip(_ORIGIN, ("row_id", "source_file", "source_row"), strict=True):
                origin = pa.Array.from_pandas(batch[column].iloc[positions], type=field.type)
                staged = staged.append_column(field, origin)
            writer.write_table(staged)
            count += staged.num_rows
    return count


def _cells(kind: Kind, payloads: Sequence[dict[str, str]]) -> pa.Table:
    columns = {name: [payload.get(name) for payload in payloads] for name in LANDING_COLUMNS[kind]}
    # A row with cut cells is no longer what the source said.
    columns[ROW_ERROR] = ["cut" if CUT_CELLS in payload else payload.get(ROW_ERROR) for payload in payloads]
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def _accept(
    connection: duckdb.DuckDBPyConnection, kind: Kind, candidates: Path, corrected: pd.DataFrame, moment: datetime
) -> tuple[int, int, tuple[date, ...]]:
    # Another replay may have been first: only rows that are open inside this transaction count.
    is_open = "SEMI JOIN (SELECT row_id FROM quarantine.rows WHERE status = 'open') USING (row_id)"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE candidates AS SELECT * FROM {parquet_relation(candidates)} {is_open}"
    )
    accepted, days = insert_new_rows(
        connection, kind, "candidates", moment, source_file="origin_file", source_row="origin_row"
    )
    connection.register("corrected", corrected[["row_id"]])
    settled = connection.execute(
        "UPDATE quarantine.rows SET status = 'replayed', replayed_at = ? WHERE status = 'open' "
        "AND row_id IN (SELECT row_id FROM candidates UNION ALL SELECT row_id FROM corrected)",
        [moment],
    ).fetchall()[0][0]
    return accepted, int(settled), days
