"""What every source of the nearline lane promises.

A source is read in order from a position that the lake keeps, in the same transaction as the rows, so what a crash or
a second worker delivers again is recognised. Acknowledging only lets the source forget; nothing depends on it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import pyarrow as pa

from assets.landing_zone import LandingFile
from models.nearline import Position
from quality.landing_columns import Kind


@dataclass(frozen=True)
class Delivery:
    """Rows that a source gave at once, in its order."""

    source: str
    """Name of the source, as in `ops.nearline_positions`."""

    cells: pa.Table
    """Text columns by landing name."""

    origins: tuple[str, ...]
    """Where each row comes from: file, stream or partition; becomes `source_file`."""

    numbers: tuple[int, ...]
    """Number of each row there; becomes `source_row`."""

    arrived_at: tuple[datetime, ...]
    """When each row arrived at the source, UTC without a zone."""

    before: Position
    """Position that the rows follow, of each partition among them; without one that is read for the first time."""

    after: Position
    """Position after the rows, of each partition among them."""

    file: LandingFile | None = None
    """The landing file that this is; its record in `ops.files` is its position."""

    ignored_columns: tuple[str, ...] = ()
    """Columns of the rows that are no landing columns."""

    @property
    def kind(self) -> Kind:
        """What the rows are: streams bring events, landing files also items."""
        return "events" if self.file is None else self.file.kind


class EventSource(Protocol):
    """A source of events."""

    name: str

    def resume(self, position: Position) -> None:
        """Go on after a position; called at the start and whenever another worker may have moved it."""
        ...

    def poll(self, max_rows: int, timeout_s: float) -> Delivery | None:
        """The next rows, at most so many (a landing file comes whole); None when there are none within the time.

        Raises:
            SourceUnavailableError: the source does not answer.
            SourceGapError: rows were removed before they were read; told once, the next call goes on with what is left.
        """
        ...

    def acknowledge(self, delivery: Delivery) -> None:
        """Let the source forget rows whose position is committed."""
        ...

    def backlog(self) -> int:
        """Rows, or files, that wait; what was delivered and not acknowledged counts."""
        ...

    def close(self) -> None:
        """Give connections back."""
        ...
