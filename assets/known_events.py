"""Which events raw has, kept in memory: so a new event is known as new without a look at all others.

An event of 32 hex digits takes 8 bytes here, its hash. A hash that is not here means that the event is not in raw; one
that is here means that it may be, and the lake is asked. What is kept is true at one snapshot of the lake only.
"""

from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from assets.lake import Lake

ID_BYTES = 8
MOST_RECENT = 100_000
"""Hashes that are kept aside before they are sorted in among the others."""

Hashes = npt.NDArray[np.uint64]

# Hashes of DuckDB, which differ between its versions: so they stay in the process that made them.
_ALL = "SELECT hash(event_id) AS id_hash FROM raw.events"
_INSERTED = """
SELECT hash(event_id) AS id_hash FROM ducklake_table_insertions('lake', 'raw', 'events', ?::BIGINT, ?::BIGINT)
"""
_FIRST = """
SELECT
    min(source_row) AS source_row, event_id, arg_min(event_at, source_row)::DATE AS event_day,
    hash(event_id) AS id_hash
FROM {relation} GROUP BY event_id
"""
_FOUND = "SELECT event_id FROM raw.events WHERE {days} AND event_id IN (SELECT unnest($asked::VARCHAR[]))"


class KnownEvents:
    """Hashes of the ids of all events in raw at a snapshot, or none where they would take too much memory."""

    def __init__(self, lake: Lake, *, budget_bytes: int) -> None:
        """Begin with nothing known.

        Args:
            lake: Where the events are.
            budget_bytes: Where the hashes would take more, nothing is known, and the lake is asked for every event.
        """
        self._lake = lake
        self._budget = budget_bytes
        self._sorted: Hashes = np.zeros(0, dtype=np.uint64)
        self._recent: set[int] = set()
        self._offered: Hashes | None = None
        self._snapshot: int | None = None
        """State of the lake that this is true of; None: nothing is known."""
        self._is_too_large = False

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    @property
    def is_wanted(self) -> bool:
        """Whether `load` would help."""
        return self._snapshot is None and not self._is_too_large

    def load(self, snapshot: int) -> None:
        """Read the ids of all events: about a second for five million."""
        self.forget()
        with self._lake.connect(snapshot=snapshot) as connection:
            count = connection.execute("SELECT count(*) FROM raw.events").fetchall()[0][0]
            if ID_BYTES * count > self._budget:
                self._is_too_large = True
                return
            self._sorted = np.sort(connection.execute(_ALL).fetchnumpy()["id_hash"])
        self._snapshot = snapshot

    def forget(self) -> None:
        """Know nothing."""
        self._sorted, self._snapshot, self._offered = np.zeros(0, dtype=np.uint64), None, None
        self._recent.clear()

    def take_in(self, until: int) -> None:
        """Read what others have inserted up to a snapshot."""
        if self._snapshot is None or until <= self._snapshot:
            return
        bounds = [self._snapshot + 1, until]
        with self._lake.connect() as connection:
            inserted = connection.execute(_INSERTED, bounds).fetchnumpy()["id_hash"]
        self._add(np.asarray(inserted), until)

    def pass_over(self, snapshot: int) -> None:
        """A transaction without events was committed as `snapshot`."""
        if self._snapshot == snapshot - 1:
            self._snapshot = snapshot

    def is_true_at(self, snapshot: int) -> bool:
        """Whether this is what raw holds at a snapshot."""
        return self._snapshot == snapshot

    def possible(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """Which ids raw may hold, by their hashes; shape (ids,)."""
        places = np.searchsorted(self._sorted, hashes)
        found = np.zeros(len(hashes), dtype=bool)
        is_inside = places < len(self._sorted)
        found[is_inside] = self._sorted[places[is_inside]] == hashes[is_inside]
        recent = np.fromiter((value in self._recent for value in hashes.tolist()), dtype=bool, count=len(hashes))
        found |= recent
        return found

    def offer(self, hashes: Hashes | None) -> None:
        """Ids that a transaction inserts; `written` takes them over once it is committed, or reads them where None."""
        self._offered = hashes

    def written(self, snapshot: int) -> None:
        """Our transaction was committed as `snapshot`; what others committed before it must have been taken in."""
        offered, self._offered = self._offered, None
        if offered is None or self._snapshot != snapshot - 1:
            self.take_in(snapshot)
            return
        self._add(offered, snapshot)

    def _add(self, hashes: Hashes, snapshot: int) -> None:
        self._recent.update(hashes.tolist())
        self._snapshot = snapshot
        if len(self._recent) > MOST_RECENT:
            recent = np.fromiter(self._recent, dtype=np.uint64, count=len(self._recent))
            # Two sorted runs, which a stable sort merges.
            self._sorted = np.sort(np.concatenate([self._sorted, np.sort(recent)]), kind="stable")
            self._recent.clear()
            if ID_BYTES * len(self._sorted) > self._budget:
                self.forget()
                self._is_too_large = True


def new_rows(connection: duckdb.DuckDBPyConnection, relation: str, known: KnownEvents) -> npt.NDArray[np.int64]:
    """Rows of a relation whose event is not in raw, the first of equal ones; offers their ids.

    Args:
        connection: Inside a transaction whose snapshot `known` is true at.
        relation: With `event_id, event_at, source_row`, the last one unique.
        known: What raw holds.

    Returns:
        Their `source_row`, shape (rows,), ascending.
    """
    first: dict[str, npt.NDArray[Any]] = connection.execute(_FIRST.format(relation=relation)).fetchnumpy()  # type: ignore[assignment]
    is_new = ~known.possible(first["id_hash"])
    doubtful = np.flatnonzero(~is_new)
    # Repeats come on the day of the first, where few files are read; what is not found there may be anywhere.
    for days in ("event_day BETWEEN $first AND $last", "true"):
        if not len(doubtful):
            break
        asked = first["event_id"][doubtful].tolist()
        span = first["event_day"][doubtful].astype("datetime64[D]")
        bounds = {"first": span.min().item(), "last": span.max().item()} if "$" in days else {}
        found = connection.execute(_FOUND.format(days=days), {"asked": asked, **bounds}).fetchall()
        present = {event_id for (event_id,) in found}
        doubtful = doubtful[[event_id not in present for event_id in asked]]
    is_new[doubtful] = True
    known.offer(first["id_hash"][is_new])
    return np.sort(first["source_row"][is_new])
