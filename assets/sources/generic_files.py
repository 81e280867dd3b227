"""Any CSV, JSON lines or Parquet files, with a mapping from landing columns to the source's columns."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from assets.landing_reader import read_tables, require_columns
from assets.landing_zone import LandingZone, Published
from assets.sources.loading import LoadResult, constant, json_objects
from models.errors import ConfigurationError, SourceError
from quality.landing_columns import LANDING_COLUMNS, REQUIRED_COLUMNS, ROW_ERROR, Kind


def load(
    source: Path,
    landing: LandingZone,
    *,
    kind: Kind = "events",
    columns: Mapping[str, str] | None = None,
    attributes: Sequence[str] = (),
    event_type: str = "",
    encoding: str = "utf-8",
    delimiter: str = "",
) -> LoadResult:
    """Land a file, or all files of a folder.

    Args:
        source: File or folder; sub-folders are not read.
        landing: Where to.
        kind: What the rows are.
        columns: Source column by landing column; a landing column that is not named is taken under its own name.
        attributes: Source columns to keep as `attributes`; they must not hold user ids.
        event_type: Event type of all rows, for a source without such a column.
        encoding: Encoding of text files.
        delimiter: Of CSV; by default a comma, for `.tsv` a tab.

    Raises:
        ConfigurationError: the mapping names a landing column that does not exist.
        MissingColumnError: the mapping names a source column that does not exist; names those that do.
        UnreadableFileError: a file cannot be decoded; nothing of it was landed.
    """
    mapping = dict(columns or {})
    _check_names(kind, mapping, event_type)
    required = [
        *mapping.values(),
        *attributes,
        *(name for name in REQUIRED_COLUMNS[kind] if name not in mapping and not (event_type and name == "event_type")),
    ]

    def tables(path: Path) -> Iterator[pa.Table]:
        for table in read_tables(path, encoding=encoding, delimiter=delimiter):
            require_columns(table.column_names, required, path.name)
            yield _mapped(table, kind, mapping, attributes, event_type)

    published = [landing.publish(kind, _stem(path), tables(path)) for path in _files(source)]
    whole = Published(
        tuple(path for entry in published for path in entry.files), sum(entry.rows for entry in published)
    )
    return LoadResult.of({kind: whole})


def _check_names(kind: Kind, mapping: Mapping[str, str], event_type: str) -> None:
    known = LANDING_COLUMNS[kind]
    for name in mapping:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            guess = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise ConfigurationError(f"--map {name}=…: {kind} have no column {name!r}, only {', '.join(known)}{guess}")
    if event_type and (kind != "events" or "event_type" in mapping):
        raise ConfigurationError(
            "--event-type is for events whose source has no column of types; leave out one of both"
        )


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    files = sorted(path for path in source.glob("*") if path.is_file() and not path.name.startswith("."))
    if not files:
        raise SourceError(f"{source}: no such file, or a folder without files")
    return files


def _stem(path: Path) -> str:
    return path.name.replace(" ", "_").lstrip(".")


def _mapped(
    table: pa.Table, kind: Kind, mapping: Mapping[str, str], attributes: Sequence[str], event_type: str
) -> pa.Table:
    columns = {}
    for name in LANDING_COLUMNS[kind]:
        source_name = mapping.get(name, name)
        if source_name in table.column_names:
            columns[name] = table.column(source_name)
    if event_type:
        columns["event_type"] = constant(event_type, table.num_rows)
    if attributes:
        columns["attributes"] = json_objects(
            {name: table.column(name).to_pylist() for name in attributes}, table.num_rows
        )
    if ROW_ERROR in table.column_names:
        columns[ROW_ERROR] = table.column(ROW_ERROR)
    return pa.table(columns)
