"""What waits for the nearline lane when no worker leads: landing files and stream entries that the lake does not have.

Only looked at, never read: a look lists a folder and asks the streams for their lengths.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from assets.lake import Lake
from assets.landing_zone import LandingZone
from assets.source_positions import read_positions
from assets.streams.contract import EventSource
from assets.streams.landing import LandingSource
from orchestration.home import open_lake
from orchestration.nearline_sources import LANDING_KINDS, build_sources
from orchestration.settings import Settings


@dataclass(frozen=True)
class Arrival:
    """Something that waits."""

    name: str
    """The same as long as the same waits, so that a tick that is repeated asks for the same run."""

    landing: str
    """Hash over the landing files that were looked at."""

    says: str
    """What waits, in words."""


class Arrivals:
    """Looks at the sources from where the lake stands."""

    def __init__(
        self, lake: Lake, landing: Path, streams: Sequence[EventSource], *, settle_s: float, most: int
    ) -> None:
        """Begin at the positions of the lake.

        Args:
            lake: Knows how far the streams were read.
            landing: The landing zone.
            streams: The other sources.
            settle_s: Seconds that a landing file must have been left alone.
            most: Larger files, in bytes, are left to the batch lane.
        """
        self._lake, self._zone, self._streams = lake, LandingZone(landing), list(streams)
        self._settle, self._most = settle_s, most
        self._positions: dict[str, list[tuple[str, str]]] = {}
        self.resume()

    def resume(self) -> None:
        """Look on from where the lake stands now.

        Raises:
            SourceUnavailableError: a stream does not answer.
        """
        if not self._streams:
            return
        with self._lake.connect() as connection:
            positions = {stream.name: read_positions(connection, stream.name) for stream in self._streams}
        for stream in self._streams:
            stream.resume(positions[stream.name])
            self._positions[stream.name] = sorted(positions[stream.name].items())

    def look(self, landing: str, now: datetime) -> Arrival | None:
        """What waits; None where nothing does, or where the files are still being written.

        Args:
            landing: Hash over the files that a run has got already.
            now: The present moment, UTC without a zone.

        Raises:
            SourceUnavailableError: a stream does not answer.
        """
        files, newest = self._files()
        cursor = _hash(files)
        is_settled = (now - datetime(1970, 1, 1)).total_seconds() - newest >= self._settle
        waiting = [f"{len(files)} landing files"] if files and cursor != landing and is_settled else []
        handed = cursor if waiting or not files else landing
        backlogs = {stream.name: stream.backlog() for stream in self._streams}
        waiting += [f"{count} rows of {name}" for name, count in backlogs.items() if count]
        if not waiting:
            return None
        return Arrival(_hash([handed, self._positions, backlogs]), handed, ", ".join(waiting))

    def _files(self) -> tuple[list[tuple[str, int, int]], float]:
        """Name, size and time of each file that the nearline lane reads, and the newest time in seconds."""
        found = [file for kind in LANDING_KINDS for file in self._zone.found(kind) if file.size < self._most]
        newest = max((file.modified_ns for file in found), default=0) / 1e9
        return [(file.path.as_posix(), file.size, file.modified_ns) for file in found], newest


@contextmanager
def open_arrivals(settings: Settings) -> Iterator[Arrivals]:
    """The arrivals of a home folder, from where its lake stands now.

    A file counts at once where the run that it starts lingers for as long as files must be left alone: the run reads
    none that is still being written, so that time passes while its process starts.
    """
    lake = open_lake(settings)
    streams = [source for source in build_sources(settings, lake) if not isinstance(source, LandingSource)]
    most = settings.nearline_max_file_mb * 2**20
    settle = settings.settle_seconds if settings.nearline_linger_s < settings.settle_seconds else 0.0
    try:
        yield Arrivals(lake, settings.landing_path, streams, settle_s=settle, most=most)
    finally:
        for stream in streams:
            stream.close()


def _hash(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]
