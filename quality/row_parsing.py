"""Turns the text cells of landing rows into times, numbers and documents, without refusing anything.

A cell that cannot be parsed is null in the parsed column while its text stays, so that a row rule can tell
"absent" from "broken". All work is done on whole columns.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pandas as pd

from quality.landing_columns import LANDING_COLUMNS, NUMBER_COLUMNS, ROW_ERROR, TIME_COLUMNS, Kind

_MILLISECONDS_FROM = 1e11
"""Unix seconds stay below this until the year 5138; from here on a number means milliseconds."""

_SECONDS_FROM = 1e8
"""Smaller numbers are refused as times: 20111209 is a date without dashes, not a moment of 1970."""

_LAST_MILLISECOND = 2.5e14


@dataclass(frozen=True)
class ParsedRows:
    """Rows of one kind: the text of every landing column, and what the text means."""

    kind: Kind
    text: pd.DataFrame
    """All landing columns and `row_error`, as text without surrounding blanks; an empty cell is missing."""

    times: dict[str, "pd.Series[Any]"]
    """`datetime64[us]` in UTC without a zone; NaT where absent or broken."""

    numbers: dict[str, "pd.Series[Any]"]
    """Float; NaN where absent or broken."""

    documents: dict[str, "pd.Series[Any]"]
    """Canonical `attributes` text and lists of `categories`; None where absent or broken."""


def parse_rows(kind: Kind, cells: pd.DataFrame) -> ParsedRows:
    """Parse landing rows.

    Args:
        kind: Which columns to expect.
        cells: Text columns by landing name; absent columns count as empty, others are ignored.
    """
    text = pd.DataFrame(
        {name: _clean(cells, name) for name in (*LANDING_COLUMNS[kind], ROW_ERROR)}, index=cells.index, dtype="str"
    )
    documents = {"attributes": _parse_distinct(text["attributes"], canonical_json_object)}
    if kind == "items":
        documents["categories"] = _parse_distinct(text["categories"], parse_category_path)
    return ParsedRows(
        kind=kind,
        text=text,
        times={name: parse_times(text[name]) for name in TIME_COLUMNS[kind]},
        numbers={name: _to_numbers(text[name]) for name in NUMBER_COLUMNS[kind]},
        documents=documents,
    )


def parse_times(text: "pd.Series[Any]") -> "pd.Series[Any]":
    """Parse ISO 8601, Unix seconds or Unix milliseconds into UTC without a zone; a time without a zone is UTC.

    Returns:
        `datetime64[us]`, NaT where the text is absent or no such time.
    """
    # Only the extended form: the parser would also take "2011", "now" and dates without dashes.
    looks_iso = text.str.match(r"\d{4}-\d{2}-\d{2}(?:$|[T ])").fillna(False).astype(bool)
    trimmed = text.where(looks_iso).str.replace(r"(\.\d{6})\d+", r"\1", regex=True)
    from_text = pd.to_datetime(trimmed, format="ISO8601", errors="coerce", utc=True).dt.tz_localize(None)
    if looks_iso.all():
        return from_text.astype("datetime64[us]")
    number = _to_numbers(text.where(~looks_iso))
    seconds = number.where(number < _MILLISECONDS_FROM, number / 1000)
    is_moment = number.between(_SECONDS_FROM, _LAST_MILLISECOND)
    from_number = pd.to_datetime((seconds.where(is_moment) * 1e6).round(), unit="us", errors="coerce")
    return from_text.astype("datetime64[us]").where(looks_iso, from_number.astype("datetime64[us]"))


def canonical_json_object(text: str) -> str | None:
    """The same JSON object with sorted keys and no blanks; None when the text is no JSON object."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() if isinstance(value, dict) else None


def parse_category_path(text: str) -> list[str] | None:
    """Read a category path, widest first, from a JSON list of strings or from `a > b > c`."""
    if not text.startswith("["):
        return [part for part in (piece.strip() for piece in text.split(">")) if part]
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if all(isinstance(part, str) for part in value) else None


def _clean(cells: pd.DataFrame, name: str) -> "pd.Series[Any]":
    if name not in cells.columns:
        return pd.Series(np.nan, index=cells.index, dtype="str")
    stripped = cells[name].astype("str").str.strip()
    return stripped.where(stripped != "")


def _to_numbers(text: "pd.Series[Any]") -> "pd.Series[Any]":
    if text.isna().all():
        return pd.Series(np.nan, index=text.index, dtype="float64")
    return pd.to_numeric(text, errors="coerce").astype("float64")


def _parse_distinct(text: "pd.Series[Any]", parse: Callable[[str], Any]) -> "pd.Series[Any]":
    parsed = {value: parse(value) for value in text.dropna().unique()}
    values = np.empty(len(text), dtype=object)
    values[:] = [parsed.get(value) for value in text.astype(object).tolist()]
    return pd.Series(values, index=text.index, dtype=object)
