"""Reads CSV and JSON lines so that one broken row is one broken row, and nothing after it is lost.

Lines are decoded one by one from the byte stream, so a wrong encoding is reported with its byte offset, and the
records of a chunk are bounded in number and in characters, so memory is too.
"""

import csv
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, TypeVar

import orjson
import pyarrow as pa

from models.errors import UnreadableFileError
from quality.landing_columns import ROW_ERROR

CHUNK_ROWS = 50_000
CHUNK_BYTES = 64_000_000
MAX_RECORD_CHARACTERS = 32_000_000
"""A CSV record that runs over this has a quote that is never closed."""

Record = list[str | None] | str
"""The cells of a row, or why it cannot be split into cells."""

T = TypeVar("T")


@dataclass
class TextLines:
    """Decoded lines of a byte stream; lines can be put back."""

    stream: IO[bytes]
    name: str
    encoding: str
    offset: int = 0
    taken: list[str] = field(default_factory=list)
    """Lines handed out since the list was last cleared: the current record."""

    _waiting: deque[str] = field(default_factory=deque)
    _taken_characters: int = 0

    def __iter__(self) -> Iterator[str]:
        """The lines themselves."""
        return self

    def __next__(self) -> str:
        """Next line with its end of line.

        Raises:
            UnreadableFileError: the bytes are not in the encoding; names the offset and the remedy.
        """
        line = self._waiting.popleft() if self._waiting else self._decode(self.stream.readline())
        self.taken.append(line)
        self._taken_characters += len(line)
        if self._taken_characters > MAX_RECORD_CHARACTERS:
            raise csv.Error(f"a record has over {MAX_RECORD_CHARACTERS:,} characters; is a quote never closed?")
        return line

    def begin_record(self) -> None:
        """Forget the lines of the record before."""
        self.taken.clear()
        self._taken_characters = 0

    def retry_after_first(self) -> None:
        """Put back all lines of the current record but its first."""
        self._waiting.extendleft(reversed(self.taken[1:]))

    def _decode(self, raw: bytes) -> str:
        if not raw:
            raise StopIteration
        try:
            text = raw.decode(self.encoding)
        except UnicodeDecodeError as error:
            raise UnreadableFileError(_encoding_message(self, raw, error.start)) from error
        text = text.removeprefix("\ufeff") if self.offset == 0 else text
        self.offset += len(raw)
        return text


def read_csv_records(lines: TextLines, delimiter: str, width: int) -> Iterator[Record]:
    """Yield the records after the header.

    A record with broken quoting costs its first line only; reading goes on with the next line.

    Args:
        lines: The file, positioned after the header.
        delimiter: One character.
        width: Number of cells that a row must have.
    """
    # The limit is per process and by default below what a landing file may hold; ours is checked per record.
    csv.field_size_limit(2 * MAX_RECORD_CHARACTERS)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.begin_record()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lines.retry_after_first()
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            yield f"not valid CSV: {error}"
            continue
        if len(cells) == width:
            yield cells  # type: ignore[misc]  # list is invariant; a cell of CSV is never None
        elif cells:
            yield f"has {len(cells)} cells where the header has {width}"


def read_json_records(lines: TextLines) -> Iterator[dict[str, object] | str]:
    """Yield the object of each line that is not blank, or why the line holds none."""
    for line in lines:
        lines.begin_record()
        if line.strip():
            yield json_record(line)


def json_record(text: str | bytes) -> dict[str, object] | str:
    """The JSON object that a text is, or why it is none."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        # The message itself may quote the text, which may hold a user id.
        return f"not valid JSON at character {error.pos}"
    return value if isinstance(value, dict) else f"a JSON {type(value).__name__} instead of an object"


def csv_tables(lines: TextLines, delimiter: str, names: list[str]) -> Iterator[pa.Table]:
    """Gather CSV records into tables of text columns; `row_error` says which rows are broken."""
    empty: list[str | None] = [None] * len(names)
    for chunk in _chunks(read_csv_records(lines, delimiter, len(names)), lines):
        rows = [empty if isinstance(record, str) else record for record in chunk]
        yield _table(dict(zip(names, zip(*rows, strict=True), strict=True)), chunk)


def json_tables(lines: TextLines) -> Iterator[pa.Table]:
    """Gather JSON objects into tables of text columns, one for each key in the chunk; nested values become JSON."""
    for chunk in _chunks(read_json_records(lines), lines):
        yield records_table(chunk)


def records_table(records: Sequence[dict[str, object] | str]) -> pa.Table:
    """Objects, or why there is none, as a table of text columns, one row for each."""
    names = list(dict.fromkeys(name for record in records if isinstance(record, dict) for name in record))
    cells = [{} if isinstance(record, str) else record for record in records]
    return _table({name: [_cell_text(row.get(name)) for row in cells] for name in names}, records)


def _table(columns: dict[str, Sequence[str | None]], chunk: Sequence[object]) -> pa.Table:
    errors = [record if isinstance(record, str) else None for record in chunk]
    columns[ROW_ERROR] = [error or own for error, own in zip(errors, columns.get(ROW_ERROR, errors), strict=True)]
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def _chunks(records: Iterable[T], lines: TextLines) -> Iterator[list[T]]:
    chunk: list[T] = []
    start = lines.offset
    for record in records:
        chunk.append(record)
        if len(chunk) >= CHUNK_ROWS or lines.offset - start >= CHUNK_BYTES:
            yield chunk
            chunk, start = [], lines.offset
    if chunk:
        yield chunk


def _cell_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return orjson.dumps(value).decode()


def _encoding_message(lines: TextLines, raw: bytes, start: int) -> str:
    byte = raw[start]
    return (
        f"{lines.name}: byte {lines.offset + start} (0x{byte:02x}) is not {lines.encoding.upper()}; "
        "convert the file with `iconv -f WINDOWS-1252 -t UTF-8`, "
        "or load it with `freshet load files … --encoding cp1252`"
    )
