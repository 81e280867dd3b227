"""Ingestion: every complete landing file that the lake does not know, once, with nothing lost.

A file is parsed into local Parquet files first and then committed in one transaction. Files are known by the
SHA-256 of their bytes, rows by their key, so files seen twice, renamed copies and re-exports add nothing. A file
that cannot be used as a whole is moved to `rejected/` and reported; the others go on.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from assets.domain import Domain
from assets.ingest_commit import FileReport, StagedFile, commit_file
from assets.lake import Lake
from assets.landing_reader import read_tables
from assets.landing_zone import LandingFile, LandingZone, hash_file
from assets.row_staging import QUARANTINED_SCHEMA, STAGED_SCHEMAS, stage_rows
from models.errors import LakeLockedError, SourceError
from quality.landing_columns import KINDS, LANDING_COLUMNS, REQUIRED_COLUMNS, ROW_ERROR, Kind
from quality.row_rules import RuleContext

LOCK_TIMEOUT_S = 600.0
"""How long an ingestion waits for another one of the same kind of files."""


@dataclass(frozen=True)
class IngestProgress:
    """Where an ingestion stands."""

    file_name: str
    phase: str
    """`reading`, `staged` or `committed`."""

    rows: int


@dataclass(frozen=True)
class RejectedFile:
    """A file that could not be used as a whole."""

    name: str
    reason: str
    moved_to: Path


@dataclass(frozen=True)
class IngestReport:
    """What one ingestion did."""

    files: tuple[FileReport, ...] = ()
    rejected: tuple[RejectedFile, ...] = ()
    known: tuple[str, ...] = ()
    """Names of files whose content the lake had already."""

    unsettled: tuple[str, ...] = ()
    """Names of files that were still being written; the next ingestion reads them."""

    def total(self, column: str) -> int:
        """Sum of `rows_in`, `rows_accepted`, `rows_quarantined` or `rows_duplicate` over the files."""
        return sum(int(getattr(file, column)) for file in self.files)

    @property
    def days_touched(self) -> list[date]:
        """Days that got events, in order."""
        return sorted({day for file in self.files for day in file.days_touched})

    @property
    def quarantined_by_rule(self) -> dict[str, int]:
        """Rows quarantined by each rule, most first."""
        counts: dict[str, int] = {}
        for file in self.files:
            for rule, count in file.quarantined_by_rule.items():
                counts[rule] = counts.get(rule, 0) + count
        return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def ingest_landing(
    lake: Lake,
    landing: Path,
    domain: Domain,
    key: str,
    *,
    received_at: datetime,
    settle_seconds: float,
    kinds: Sequence[Kind] = KINDS,
    on_progress: Callable[[IngestProgress], None] | None = None,
) -> IngestReport:
    """Ingest all new complete files of a landing zone.

    Args:
        lake: Where to.
        landing: Folder with `events/`, `items/` and `users/`; any of them may be absent.
        domain: Known event types and the pattern of item ids.
        key: Key of the pseudonyms.
        received_at: The present moment; later events are quarantined. Without a zone it is UTC.
        settle_seconds: How long a file must have been left alone before it is read.
        kinds: Which kinds of files.
        on_progress: Told after each chunk and each step.

    Returns:
        The report; `rejected` files are not an exception, so the caller decides how loud they are.

    Raises:
        LakeError: the lake cannot be written; files committed before stay, the rest is untouched.
    """
    moment = received_at.astimezone(UTC).replace(tzinfo=None) if received_at.tzinfo else received_at
    ingestion = _Ingestion(
        lake=lake,
        zone=LandingZone(landing),
        context=RuleContext(moment, frozenset(domain.event_weights), domain.item_id_pattern),
        key=key,
        settle_seconds=settle_seconds,
        on_progress=on_progress or (lambda progress: None),
        seen=set(lake.frame("SELECT kind, file_hash FROM ops.files").itertuples(index=False, name=None)),
    )
    report = IngestReport()
    for kind in kinds:
        with _staging_folder(landing, kind) as folder:
            report = ingestion.ingest_kind(kind, folder, report)
    return report


def unread_files(lake: Lake, landing: Path) -> tuple[str, ...]:
    """Names of the files in a landing zone whose content the lake does not have, complete or not."""
    # None for files that the worker moves away meanwhile.
    read = {None, *lake.frame("SELECT file_hash FROM ops.files")["file_hash"]}
    zone = LandingZone(landing)
    paths = [path for kind in KINDS for path in zone.candidates(kind)]
    return tuple(path.relative_to(landing).as_posix() for path in paths if _hash_if_there(path) not in read)


def _hash_if_there(path: Path) -> str | None:
    try:
        return hash_file(path)
    except FileNotFoundError:
        return None


@dataclass(frozen=True)
class _Ingestion:
    lake: Lake
    zone: LandingZone
    context: RuleContext
    key: str
    settle_seconds: float
    on_progress: Callable[[IngestProgress], None]
    seen: set[tuple[str, str]]
    """Kind and hash of the files that the lake has."""

    def ingest_kind(self, kind: Kind, folder: Path, report: IngestReport) -> IngestReport:
        for path in self.zone.candidates(kind):
            report = self._ingest_path(kind, path, folder, report)
        return report

    def _ingest_path(self, kind: Kind, path: Path, folder: Path, report: IngestReport) -> IngestReport:
        name = path.relative_to(self.zone.folder).as_posix()
        now = self.context.as_of
        try:
            file = self.zone.inspect(kind, path, now=now, settle_seconds=self.settle_seconds)
            if file is None:
                return replace(report, unsettled=(*report.unsettled, name))
            if (kind, file.file_hash) in self.seen:
                return replace(report, known=(*report.known, name))
            staged, ignored = self._stage(file, folder)
        except SourceError as error:
            moved_to = self.zone.reject(kind, path, error)
            rejected = () if moved_to is None else (RejectedFile(name, str(error), moved_to),)
            return replace(report, rejected=(*report.rejected, *rejected))
        if file.has_changed():
            return replace(report, unsettled=(*report.unsettled, name))
        self.on_progress(IngestProgress(name, "staged", staged.rows_in))
        written = self.lake.write(commit_file(staged, now), message=f"ingest {name}")
        self.seen.add((kind, file.file_hash))
        self.on_progress(IngestProgress(name, "committed", staged.rows_in))
        if written.value is None:
            return replace(report, known=(*report.known, name))
        return replace(report, files=(*report.files, replace(written.value, ignored_columns=ignored)))

    def _stage(self, file: LandingFile, folder: Path) -> tuple[StagedFile, tuple[str, ...]]:
        accepted = folder / f"{file.file_hash}.accepted.parquet"
        quarantined = folder / f"{file.file_hash}.quarantined.parquet"
        rows = 0
        ignored: dict[str, None] = {}
        with (
            pq.ParquetWriter(accepted, STAGED_SCHEMAS[file.kind]) as sound,
            pq.ParquetWriter(quarantined, QUARANTINED_SCHEMA) as broken,
        ):
            for table in read_tables(file.path, required=REQUIRED_COLUMNS[file.kind]):
                staged = stage_rows(file.kind, table, self.context, first_row=rows + 1, key=self.key)
                sound.write_table(staged.accepted)
                broken.write_table(staged.quarantined)
                rows += table.num_rows
                ignored.update(dict.fromkeys(table.column_names))
                self.on_progress(IngestProgress(file.name, "reading", rows))
        expected = {*LANDING_COLUMNS[file.kind], ROW_ERROR}
        return StagedFile(file, accepted, quarantined, rows), tuple(name for name in ignored if name not in expected)


@contextmanager
def _staging_folder(landing: Path, kind: Kind) -> Iterator[Path]:
    """An empty folder for staged files, held by one process at a time; a killed one's leftovers are removed."""
    root = landing / ".staging"
    root.mkdir(parents=True, exist_ok=True)
    folder = root / kind
    try:
        with FileLock(root / f"{kind}.lock", timeout=LOCK_TIMEOUT_S):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder)
    except Timeout as error:
        raise LakeLockedError(
            f"another ingestion of {kind} has been running on {landing} for over {LOCK_TIMEOUT_S:g} s; "
            "wait for it or stop it"
        ) from error
