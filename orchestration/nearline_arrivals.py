"""What waits for the nearline lane when no worker leads: landing files and stream entries that the lake does not have.

Items and business rules that begin or end as time passes count too. Sources are only looked at, never read: a look
lists a folder, asks the streams for their lengths, and now and then the lake.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from assets.builds import last_build
from assets.domain import load_domain
from assets.lake import Lake
from assets.lake_news import passed_boundary
from assets.landing_zone import LandingZone
from assets.serving import TOP_K
from assets.source_positions import read_positions
from assets.streams.contract import EventSource
from assets.streams.landing import LandingSource
from orchestration.home import open_lake
from orchestration.nearline_sources import LANDING_KINDS, build_sources
from orchestration.settings import Settings

TIME_EVERY = timedelta(seconds=5)
"""How often the lake is asked what has begun or ended by itself."""


@dataclass(frozen=True)
class Arrival:
    """Something that waits."""

    name: str
    """The same as long as the same waits, so that a tick that is repeated asks for the same run."""

    landing: str
    """Hash over the landing files that were looked at."""

    passed: str
    """Last moment until now at which something began or ended by itself, and the last publication; empty: none."""

    says: str
    """What waits, in words."""


class Arrivals:
    """Looks at the sources from where the lake stands."""

    def __init__(
        self,
        lake: Lake,
        landing: Path,
        streams: Sequence[EventSource],
        *,
        settle_s: float,
        most: int,
        passed: Callable[[datetime], str] = lambda now: "",
    ) -> None:
        """Begin at the positions of the lake.

        Args:
            lake: Knows how far the streams were read.
            landing: The landing zone.
            streams: The other sources.
            settle_s: Seconds that a landing file must have been left alone.
            most: Larger files, in bytes, are left to the batch lane.
            passed: What has begun or ended by itself at a moment, as in `Arrival`; asked every `TIME_EVERY`.
        """
        self._lake, self._zone, self._streams = lake, LandingZone(landing), list(streams)
        self._settle, self._most = settle_s, most
        self._passed, self._last_passed = passed, ""
        self._positions: dict[str, list[tuple[str, str]]] = {}
        self.resume()

    def resume(self) -> None:
        """Look on from where the lake stands now.

        Raises:
            SourceUnavailableError: a stream does not answer.
        """
        self._asked_at = datetime.min
        if not self._streams:
            return
        with self._lake.connect() as connection:
            positions = {stream.name: read_positions(connection, stream.name) for stream in self._streams}
        for stream in self._streams:
            stream.resume(positions[stream.name])
            self._positions[stream.name] = sorted(positions[stream.name].items())

    def look(self, landing: str, passed: str, now: datetime) -> Arrival | None:
        """What waits; None where nothing does, or where the files are still being written.

        Args:
            landing: Hash over the files that a run has got already.
            passed: What had begun or ended by itself when a run last looked.
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
        time = self._time(now)
        if time not in ("", passed):
            waiting.append(f"what began or ended by itself until {time.partition('/')[0]}")
        if not waiting:
            return None
        return Arrival(_hash([handed, self._positions, backlogs, time]), handed, time, ", ".join(waiting))

    def _time(self, now: datetime) -> str:
        if now >= self._asked_at + TIME_EVERY:
            self._asked_at, self._last_passed = now, self._passed(now)
        return self._last_passed

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
    lake, domain = open_lake(settings), load_domain(settings.domain)
    streams = [source for source in build_sources(settings, lake) if not isinstance(source, LandingSource)]
    most = settings.nearline_max_file_mb * 2**20
    settle = settings.settle_seconds if settings.nearline_linger_s < settings.settle_seconds else 0.0

    def passed(now: datetime) -> str:
        # Lists that are published later are for the end of the data again.
        published = last_build(lake, TOP_K)
        lists_live = timedelta(hours=domain.list_ttl_hours)
        moment = passed_boundary(lake, domain.surface, lists_live, now) if published else None
        return f"{moment.isoformat()}/{published.snapshot}" if published and moment else ""

    try:
        yield Arrivals(lake, settings.landing_path, streams, settle_s=settle, most=most, passed=passed)
    finally:
        for stream in streams:
            stream.close()


def _hash(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]
