"""Landing files as a source of the nearline lane: one file is one delivery, its record in `ops.files` its position.

Events and items are two sources, since each is read in its own order.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from assets.lake import Lake
from assets.landing_reader import read_tables
from assets.landing_zone import FoundFile, LandingFile, LandingZone
from assets.streams.contract import Delivery
from models.errors import SourceError
from models.nearline import Position
from quality.landing_columns import LANDING_COLUMNS, REQUIRED_COLUMNS, ROW_ERROR, Kind

NAME = "landing"


class LandingSource:
    """New complete files of one kind in a landing zone, in the order of their names."""

    def __init__(
        self,
        lake: Lake,
        landing: Path,
        *,
        settle_seconds: float,
        max_bytes: int,
        clock: Callable[[], datetime],
        kind: Kind = "events",
    ) -> None:
        """Watch a landing zone.

        Args:
            lake: Knows which files were read.
            landing: Folder with a folder for each kind.
            settle_seconds: How long a file must have been left alone.
            max_bytes: Files from this size on are left to the batch lane.
            clock: The present moment, UTC without a zone.
            kind: Which files.
        """
        self.name = NAME if kind == "events" else f"{NAME}:{kind}"
        self._kind = kind
        self._lake = lake
        self._zone = LandingZone(landing)
        self._settle = settle_seconds
        self._max_bytes = max_bytes
        self._clock = clock
        self._known: set[str] = set()
        self._listed: list[FoundFile] | None = None
        """What the last `poll` saw."""
        self._done: set[FoundFile] = set()
        """Files that need no second look as long as they stay as they are."""
        self.too_large: set[str] = set()
        self.rejected: dict[str, str] = {}
        """Reason by name of files that were moved to `rejected/`."""

    def resume(self, position: Position) -> None:
        """Ask the lake anew which files it has."""
        self._known = set(self._lake.frame("SELECT file_hash FROM ops.files WHERE kind = ?", [self._kind])["file_hash"])
        self._done.clear()
        self._listed = None

    def poll(self, max_rows: int, timeout_s: float) -> Delivery | None:
        """The first new complete file; returns at once."""
        self._listed = self._zone.found(self._kind)
        # Of files that are gone, or were written anew, nothing is kept.
        self._done.intersection_update(self._listed)
        for found in self._listed:
            if found in self._done:
                continue
            try:
                delivery = self._read(found)
            except SourceError as error:
                if self._zone.reject(self._kind, found.path, error) is not None:
                    self.rejected[found.path.name] = str(error)
                self._done.add(found)
                continue
            if delivery is not None:
                return delivery
        return None

    def acknowledge(self, delivery: Delivery) -> None:
        """Look at the file no more."""
        file = delivery.file
        assert file is not None
        self._known.add(file.file_hash)
        self._done.add(FoundFile(file.path, file.size, file.modified_ns))

    def backlog(self) -> int:
        """Files that were not looked at, or not committed, of those that the last `poll` saw."""
        listed = self._zone.found(self._kind) if self._listed is None else self._listed
        return sum(found not in self._done for found in listed)

    def close(self) -> None:
        """Nothing to give back."""

    def _read(self, found: FoundFile) -> Delivery | None:
        if found.size >= self._max_bytes:
            self.too_large.add(found.path.name)
            self._done.add(found)
            return None
        file = self._zone.inspect(self._kind, found.path, now=self._clock(), settle_seconds=self._settle)
        if file is None:
            return None
        if file.file_hash in self._known:
            self._done.add(FoundFile(file.path, file.size, file.modified_ns))
            return None
        tables = list(read_tables(file.path, required=REQUIRED_COLUMNS[self._kind]))
        return None if file.has_changed() else _delivery(self.name, file, tables)


def _delivery(source: str, file: LandingFile, tables: list[pa.Table]) -> Delivery:
    cells = pa.concat_tables(tables, promote_options="default") if tables else _no_rows(file.kind)
    expected = {*LANDING_COLUMNS[file.kind], ROW_ERROR}
    count = cells.num_rows
    arrived = datetime.fromtimestamp(file.modified_ns / 1e9, UTC).replace(tzinfo=None)
    return Delivery(
        source=source,
        cells=cells,
        origins=(file.name,) * count,
        numbers=tuple(range(1, count + 1)),
        arrived_at=(arrived,) * count,
        before={},
        after={},
        file=file,
        ignored_columns=tuple(name for name in cells.column_names if name not in expected),
    )


def _no_rows(kind: Kind) -> pa.Table:
    return pa.table({name: pa.array([], pa.string()) for name in REQUIRED_COLUMNS[kind]})
