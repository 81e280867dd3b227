"""Streams any landing file as tables of text cells, whatever its format and compression.

CSV, TSV, JSON lines and Parquet, each optionally `.gz` or `.zst`. At most 50,000 rows are in memory.
"""

import csv
import difflib
import gzip
import io
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from assets.landing_text import CHUNK_ROWS, TextLines, csv_tables, json_tables
from models.errors import MissingColumnError, UnreadableFileError

_COMPRESSIONS = (".gz", ".zst")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson", ".json")


def read_tables(
    path: Path, *, required: Sequence[str] = (), encoding: str = "utf-8", delimiter: str = ""
) -> Iterator[pa.Table]:
    """Yield the rows of a file in order, in tables of text columns under the file's own names.

    A row that cannot be split into cells is a row of nulls whose column `row_error` says why. A file without rows
    yields nothing.

    Args:
        path: The file; its name says the format.
        required: Columns that must exist.
        encoding: Encoding of CSV and JSON lines.
        delimiter: Of CSV; by default a comma, for `.tsv` a tab.

    Raises:
        UnreadableFileError: unknown format, damaged compression, wrong encoding, no Parquet.
        MissingColumnError: a required column is absent; names those that exist and the nearest guess.
    """
    suffix = _format_suffix(path)
    try:
        is_parquet = suffix == ".parquet"
        tables = _parquet_tables(path) if is_parquet else _text_tables(path, suffix, encoding, delimiter)
        yield from _checked(tables, path, required)
    except (EOFError, zlib.error, gzip.BadGzipFile, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UnreadableFileError(
            f"{path.name}: is damaged or no {suffix[1:]} file ({error}); land it again"
        ) from error
    except OSError as error:
        raise UnreadableFileError(f"{path.name}: cannot be read ({error}); land it again") from error


def require_columns(names: Sequence[str], required: Sequence[str], file_name: str) -> None:
    """Check that columns exist.

    Raises:
        MissingColumnError: one does not; names those that do and the nearest guess.
    """
    for column in required:
        if column in names:
            continue
        existing = [name for name in names if name != "row_error"]
        by_lower = {name.lower(): name for name in existing}
        nearest = difflib.get_close_matches(column.lower(), list(by_lower), n=1, cutoff=0.5)
        guess = f"; did you mean {by_lower[nearest[0]]!r}?" if nearest else ""
        if len(existing) == 1 and any(mark in existing[0] for mark in ";\t|"):
            guess = "; the cells seem to be divided by another character than the comma: see --delimiter"
        raise MissingColumnError(
            f"{file_name}: column {column!r} is missing; the file has {', '.join(existing) or 'no columns'}{guess}"
        )


def _checked(tables: Iterable[pa.Table], path: Path, required: Sequence[str]) -> Iterator[pa.Table]:
    is_first = True
    for table in tables:
        if is_first:
            require_columns(table.column_names, required, path.name)
            is_first = False
        if table.num_rows:
            yield table


def _format_suffix(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSIONS:
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    if suffix in _DELIMITERS or suffix in _JSON_LINES or suffix == ".parquet":
        return suffix
    raise UnreadableFileError(
        f"{path.name}: unknown format; landing files end in .csv, .tsv, .jsonl, .ndjson or .parquet, "
        "optionally followed by .gz or .zst"
    )


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    compression = path.suffix.lower()
    if compression == ".gz":
        with gzip.open(path, "rb") as stream:
            yield stream  # type: ignore[misc]  # a GzipFile is a binary stream
    elif compression == ".zst":
        # Unlike the zstandard package, Arrow notices a stream that was cut off.
        with pa.CompressedInputStream(str(path), "zstd") as source:
            yield io.BufferedReader(source, 1 << 20)
    else:
        with path.open("rb") as stream:
            yield stream


def _text_tables(path: Path, suffix: str, encoding: str, delimiter: str) -> Iterator[pa.Table]:
    with _opened(path) as stream:
        lines = TextLines(stream, path.name, encoding)
        if suffix in _JSON_LINES:
            yield from json_tables(lines)
            return
        separator = delimiter or _DELIMITERS[suffix]
        header = next(csv.reader([next(lines, "")], delimiter=separator), [])
        names = [name.strip() for name in header]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise UnreadableFileError(f"{path.name}: the header names {', '.join(repeated)} more than once")
        # An empty table first, so that the header is checked even where no row follows.
        yield pa.table({name: pa.array([], pa.string()) for name in names})
        yield from csv_tables(lines, separator, names)


def _parquet_tables(path: Path) -> Iterator[pa.Table]:
    with tempfile.TemporaryFile() as spool:
        if path.suffix.lower() in _COMPRESSIONS:
            with _opened(path) as stream:
                shutil.copyfileobj(stream, spool)
            source: pq.ParquetFile = pq.ParquetFile(spool)
        else:
            source = pq.ParquetFile(path)
        with source:
            yield source.schema_arrow.empty_table()
            for batch in source.iter_batches(batch_size=CHUNK_ROWS):
                columns = [_as_text(column) for column in batch.columns]
                yield pa.table(columns, names=batch.schema.names)


def _as_text(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _as_text(column.dictionary_decode())
    if pa.types.is_timestamp(kind):
        moment = column.cast(pa.timestamp("us", "UTC"), safe=False) if kind.tz else column
        return moment.cast(pa.timestamp("us"), safe=False).cast(pa.string())
    if pa.types.is_nested(kind):
        return pa.array([None if value is None else orjson.dumps(value).decode() for value in column.to_pylist()])
    return column.cast(pa.string())
