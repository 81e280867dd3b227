"""The landing zone: a folder with `events/`, `items/` and `users/`, into which other systems put files.

A file is read only once it is complete: either it has not changed for a while, or its name carries the first 16
digits of its own SHA-256, as the files that `LandingZone.publish` writes do. Names that start with a dot or end in
`.tmp` or `.part` are never read. A file that cannot be used as a whole is moved to `rejected/` with the reason
beside it, so that it stops nobody else and is not forgotten.
"""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from models.errors import SourceError, UnreadableFileError
from quality.landing_columns import LANDING_COLUMNS, ROW_ERROR, Kind

_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload")
_HASH_IN_NAME = re.compile(r"\.([0-9a-f]{16})\.parquet$")
_BLOCK_BYTES = 1 << 20
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""Errors of a path that leads to no file; a link may lead nowhere, too."""


@dataclass(frozen=True)
class FoundFile:
    """A file that might be read, as it was when the folder was listed."""

    path: Path
    size: int
    modified_ns: int


@dataclass(frozen=True)
class LandingFile:
    """One complete file, as it was when it was hashed."""

    kind: Kind
    path: Path
    name: str
    """Path under the landing zone, such as `events/2024-05-01.csv.gz`."""

    file_hash: str
    """SHA-256 of its bytes."""

    size: int
    modified_ns: int

    def has_changed(self) -> bool:
        """Whether the file was written to or replaced since it was hashed."""
        status = _status(self.path)
        return status is None or (status.st_size, status.st_mtime_ns) != (self.size, self.modified_ns)


@dataclass(frozen=True)
class Published:
    """Files that an adapter wrote, and their data rows."""

    files: tuple[Path, ...]
    rows: int


@dataclass(frozen=True)
class LandingZone:
    """The folder that source systems write to and ingestion reads."""

    folder: Path

    def found(self, kind: Kind) -> list[FoundFile]:
        """Files of a kind that might be read, sorted by path, sub-folders included, but none that goes meanwhile."""
        root = self.folder / kind
        found = []
        for path in sorted(_paths(root)):
            status = None if _is_unfinished(path, root) else _status(path)
            if status is not None and stat.S_ISREG(status.st_mode):
                found.append(FoundFile(path, status.st_size, status.st_mtime_ns))
        return found

    def candidates(self, kind: Kind) -> list[Path]:
        """Paths of the files that might be read, as in `found`."""
        return [file.path for file in self.found(kind)]

    def inspect(self, kind: Kind, path: Path, *, now: datetime, settle_seconds: float) -> LandingFile | None:
        """Hash a file; None when it is not complete yet, or gone.

        Args:
            kind: Kind of rows in it.
            path: One of `candidates`.
            now: The present moment, in UTC.
            settle_seconds: How long a file must have been left alone, unless its name proves it complete.

        Raises:
            UnreadableFileError: the file cannot be opened.
        """
        try:
            before = path.stat()
            named = _HASH_IN_NAME.search(path.name)
            if not named and _seconds_since(before.st_mtime, now) < settle_seconds:
                return None
            file_hash = hash_file(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnreadableFileError(f"{path}: cannot be opened ({error.strerror}); check its permissions") from error
        file = LandingFile(
            kind=kind,
            path=path,
            name=path.relative_to(self.folder).as_posix(),
            file_hash=file_hash,
            size=before.st_size,
            modified_ns=before.st_mtime_ns,
        )
        is_proven = named is not None and file_hash.startswith(named.group(1))
        is_settled = _seconds_since(before.st_mtime, now) >= settle_seconds
        return None if file.has_changed() or not (is_proven or is_settled) else file

    def publish(self, kind: Kind, stem: str, tables: Iterable[pa.Table]) -> Published:
        """Write rows as one landing file that appears whole or not at all.

        The name is `<stem>.<hash>.parquet`, so publishing the same rows again replaces the file by itself.

        Args:
            kind: Kind of the rows.
            stem: First part of the name, such as `movielens.ratings`.
            tables: Text columns of that kind by landing name; absent columns become empty.
        """
        folder = self.folder / kind
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f".{stem}.tmp"
        schema = pa.schema([(name, pa.string()) for name in (*LANDING_COLUMNS[kind], ROW_ERROR)])
        rows = 0
        try:
            with pq.ParquetWriter(unfinished, schema, compression="zstd") as writer:
                for table in tables:
                    rows += table.num_rows
                    writer.write_table(_with_all_columns(table, schema))
            path = folder / f"{stem}.{hash_file(unfinished)[:16]}.parquet"
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        return Published((path,), rows)

    def reject(self, kind: Kind, path: Path, error: SourceError) -> Path | None:
        """Move a file that cannot be used to `rejected/`, with the reason beside it.

        Returns:
            Its new place; None where it is gone, such as moved by another process that could not use it either.
        """
        target = self.folder / "rejected" / path.relative_to(self.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.replace(target)
        except FileNotFoundError:
            return None
        target.with_name(f"{target.name}.reason.txt").write_text(f"{error}\n", encoding="utf-8")
        return target


def hash_file(path: Path, on_block: Callable[[int], None] | None = None) -> str:
    """SHA-256 of a file's bytes; `on_block` is told the bytes read so far."""
    digest = hashlib.sha256()
    total = 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
            total += len(block)
            if on_block is not None:
                on_block(total)
    return digest.hexdigest()


def _paths(root: Path) -> Iterator[Path]:
    """Everything under a folder but its folders; one that is removed meanwhile is empty."""
    for folder, _, names in os.walk(root):
        yield from (Path(folder, name) for name in names)


def _status(path: Path) -> os.stat_result | None:
    """Size and time of a file; None where there is none any more, as where another process has moved it."""
    try:
        return path.stat()
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise


def _is_unfinished(path: Path, root: Path) -> bool:
    parts = path.relative_to(root).parts
    return any(part.startswith(".") for part in parts) or path.name.lower().endswith(_UNFINISHED)


def _seconds_since(modified: float, now: datetime) -> float:
    moment = now if now.tzinfo is not None else now.replace(tzinfo=UTC)
    return moment.timestamp() - modified


def _with_all_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table.column(name).cast(pa.string()) if name in table.column_names else pa.nulls(table.num_rows, pa.string())
        for name in schema.names
    ]
    return pa.table(columns, schema=schema)
