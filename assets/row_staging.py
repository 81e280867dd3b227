"""From the text cells of a landing file to rows as the lake holds them, and to quarantined rows.

User ids become pseudonyms here, before anything is written; the identity of an event or a version is hashed over
its parsed content, so the same row in another format or file is the same row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from assets.pseudonyms import pseudonyms_of
from quality.landing_columns import LANDING_COLUMNS, ROW_ERROR, Kind
from quality.row_parsing import ParsedRows, parse_rows
from quality.row_rules import RowRule, RuleContext, first_broken, row_rules

MAX_VALUE = 200
MAX_PAYLOAD_CELL = 2_000
CUT_CELLS = "cut_cells"
"""Key of a payload: names of the cells that were cut, so that the row cannot be replayed."""

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_STRING = pa.string()
_TIME = pa.timestamp("us")

STAGED_SCHEMAS: dict[Kind, pa.Schema] = {
    "events": pa.schema(
        [
            ("event_id", _STRING),
            ("user_id", _STRING),
            ("item_id", _STRING),
            ("event_type", _STRING),
            ("event_at", _TIME),
            ("value", pa.float64()),
            ("session_id", _STRING),
            ("query", _STRING),
            ("surface", _STRING),
            ("attributes", _STRING),
            ("source_order", pa.int64()),
            ("source_row", pa.int64()),
        ]
    ),
    "items": pa.schema(
        [
            ("item_id", _STRING),
            ("title", _STRING),
            ("description", _STRING),
            ("categories", pa.list_(_STRING)),
            ("brand_or_author", _STRING),
            ("price", pa.float64()),
            ("currency", _STRING),
            ("attributes", _STRING),
            ("image_uri", _STRING),
            ("available_from", _TIME),
            ("available_until", _TIME),
            ("updated_at", _TIME),
            ("content_hash", _STRING),
            ("source_row", pa.int64()),
        ]
    ),
    "users": pa.schema(
        [
            ("user_id", _STRING),
            ("age_band", _STRING),
            ("region", _STRING),
            ("attributes", _STRING),
            ("updated_at", _TIME),
            ("content_hash", _STRING),
            ("source_row", pa.int64()),
        ]
    ),
}
"""Accepted rows as they are staged; the lake's own columns are added by the transaction."""

QUARANTINED_SCHEMA = pa.schema(
    [
        ("rule", _STRING),
        ("column_name", _STRING),
        ("value", _STRING),
        ("payload", _STRING),
        ("source_row", pa.int64()),
    ]
)


@dataclass(frozen=True)
class StagedRows:
    """One chunk, divided: every row is in exactly one of the two tables."""

    accepted: pa.Table
    quarantined: pa.Table


def stage_rows(
    kind: Kind,
    cells: pa.Table,
    context: RuleContext,
    *,
    first_row: int,
    key: str | None,
) -> StagedRows:
    """Parse a chunk, apply the row rules and divide it.

    Args:
        kind: Kind of the rows.
        cells: Text columns by landing name.
        context: What the rules compare with.
        first_row: 1-based number of the first row in its file.
        key: Key of the pseudonyms; None when the user ids are pseudonyms already, as in a replay.
    """
    names = [name for name in (*LANDING_COLUMNS[kind], ROW_ERROR) if name in cells.column_names]
    rows = parse_rows(kind, cells.select(names).to_pandas())
    rules = row_rules(kind, context)
    broken = first_broken(rows, rules)
    if key is not None and "user_id" in rows.text:
        # Only now: a rule must see the source's id, and nothing may be written before this.
        pseudonyms = pseudonyms_of(rows.text["user_id"].dropna(), key)
        rows.text["user_id"] = rows.text["user_id"].map(pseudonyms).astype("str")
    numbers = np.arange(first_row, first_row + len(broken), dtype=np.int64)
    return StagedRows(_accepted(rows, numbers, broken < 0), _quarantined(rows, numbers, broken, rules))


def _accepted(rows: ParsedRows, numbers: IntArray, is_sound: BoolArray) -> pa.Table:
    schema = STAGED_SCHEMAS[rows.kind]
    columns = {
        name: pa.Array.from_pandas(_parsed(rows, name)[is_sound], type=_STAGED_TYPES[rows.kind][name])
        for name in LANDING_COLUMNS[rows.kind]
    }
    columns["source_row"] = pa.array(numbers[is_sound])
    hashes = _content_hashes([columns[name] for name in LANDING_COLUMNS[rows.kind] if name not in _NO_CONTENT])
    if rows.kind == "events":
        columns["event_id"] = pc.coalesce(columns["event_id"], hashes)
    else:
        columns["content_hash"] = hashes
    return pa.table([columns[name] for name in schema.names], schema=schema)


_NO_CONTENT = frozenset({"event_id", "source_order"})
"""Not part of an event's content: its own id, and where the source happened to list it."""

_STAGED_TYPES: dict[Kind, dict[str, pa.DataType]] = {
    kind: {field.name: field.type for field in schema} for kind, schema in STAGED_SCHEMAS.items()
}


def _parsed(rows: ParsedRows, name: str) -> "pd.Series[Any]":
    for parsed in (rows.documents, rows.times, rows.numbers):
        if name in parsed:
            return parsed[name]
    return rows.text[name]


def _content_hashes(columns: Sequence[pa.Array]) -> pa.Array:
    """First 32 hex digits of the SHA-256 over the parsed cells of each row, shape (rows,)."""
    texts = [_hashable(column) for column in columns]
    joined = pc.binary_join_element_wise(*texts, "\x1f", null_handling="replace", null_replacement="\x00")
    return pa.array([sha256(text.encode()).hexdigest()[:32] for text in joined.to_pylist()], _STRING)


def _hashable(column: pa.Array) -> pa.Array:
    if pa.types.is_list(column.type):
        return pc.binary_join(column, "\x1e")
    return column.cast(_STRING)


def _quarantined(rows: ParsedRows, numbers: IntArray, broken: IntArray, rules: Sequence[RowRule]) -> pa.Table:
    positions = np.flatnonzero(broken >= 0)
    if not len(positions):
        return QUARANTINED_SCHEMA.empty_table()
    names = [*LANDING_COLUMNS[rows.kind], ROW_ERROR]
    cells = [pa.Array.from_pandas(rows.text[name].iloc[positions], type=_STRING).to_pylist() for name in names]
    records = [
        {name: cell for name, cell in zip(names, row, strict=True) if cell is not None}
        for row in zip(*cells, strict=True)
    ]
    found = [rules[index] for index in broken[positions]]
    values = [record.get(rule.column or ROW_ERROR) for record, rule in zip(records, found, strict=True)]
    return pa.table(
        [
            [rule.name for rule in found],
            [rule.column or None for rule in found],
            [value and value[:MAX_VALUE] for value in values],
            [_payload(record) for record in records],
            numbers[positions],
        ],
        schema=QUARANTINED_SCHEMA,
    )


def _payload(record: dict[str, str]) -> str:
    cut = [name for name, cell in record.items() if len(cell) > MAX_PAYLOAD_CELL]
    if cut:
        cells = {name: cell[:MAX_PAYLOAD_CELL] for name, cell in record.items()}
        return orjson.dumps({**cells, CUT_CELLS: cut}).decode()
    return orjson.dumps(record).decode()
