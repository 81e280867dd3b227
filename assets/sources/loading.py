"""What all source adapters share: their result, and how rows of a source become landing rows.

An adapter never drops a row: what it cannot read becomes a landing row with `row_error`, what is wrong with a row
is found by the row rules at ingestion. So rows in the source = rows landed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow as pa

from assets.landing_zone import Published
from models.errors import SourceError


@dataclass(frozen=True)
class LoadResult:
    """Landing files that an adapter wrote, and the rows in them by kind."""

    files: tuple[Path, ...]
    rows: dict[str, int]

    @classmethod
    def of(cls, published: Mapping[str, Published]) -> "LoadResult":
        """Result over what was published for each kind."""
        files = tuple(path for entry in published.values() for path in entry.files)
        return cls(files, {kind: entry.rows for kind, entry in published.items()})


def require_files(folder: Path, names: Sequence[str], source: str) -> list[Path]:
    """Paths of the files of a source.

    Raises:
        SourceError: one is missing.
    """
    paths = [folder / name for name in names]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise SourceError(f"{folder}: {source} needs {', '.join(names)}, but {', '.join(missing)} is not there")
    return paths


def json_objects(columns: Mapping[str, Sequence[object]], rows: int) -> pa.Array:
    """One JSON object for each row from the cells that are not null; null where there are none."""
    names = list(columns)
    cells: Iterable[tuple[object, ...]] = zip(*columns.values(), strict=True) if names else [()] * rows
    objects = ({name: cell for name, cell in zip(names, row, strict=True) if cell is not None} for row in cells)
    return pa.array([orjson.dumps(entry).decode() if entry else None for entry in objects], pa.string())


def constant(text: str, rows: int) -> pa.Array:
    """A column of equal texts."""
    return pa.array([text] * rows, pa.string())


def slices(table: pa.Table, rows: int = 50_000) -> Iterator[pa.Table]:
    """The table in pieces, so that publishing it needs little memory."""
    for start in range(0, table.num_rows, rows):
        yield table.slice(start, rows)
