"""Who leads the nearline lane: one row with an expiry, in a small SQLite file beside the write lock.

A leader renews its row; where it dies, another takes over once the row has expired, at once where the holder is known
to be dead. Each term has a number, the epoch, which the leader writes with its positions: a leader that was superseded
without knowing it is refused by the lake, whatever its clock says.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from assets.lake import Lake
from models.process_identity import is_dead, this_process

_BUSY_S = 5.0
_TABLE = """
CREATE TABLE IF NOT EXISTS lease (
    name TEXT PRIMARY KEY, holder TEXT NOT NULL, epoch INTEGER NOT NULL, expires_at REAL NOT NULL
)
"""


NEARLINE = "nearline"
SECONDS = 15.0
"""How long a term lasts unless it is renewed."""


@dataclass(frozen=True)
class Term:
    """A term of a leader."""

    holder: str
    epoch: int
    expires_at: float
    """Seconds since 1970."""


@dataclass(frozen=True)
class Lease:
    """A lease by name."""

    file: Path
    """SQLite file on a disk that all candidates share."""

    name: str
    seconds: float
    """How long a term lasts unless it is renewed."""

    def take(self, now: float) -> Term | None:
        """Begin a term; None while somebody else leads.

        Args:
            now: Seconds since 1970.
        """
        holder = this_process()
        with self._transaction() as connection:
            found = self._read(connection)
            if found is not None and found.holder != holder and found.expires_at > now and not is_dead(found.holder):
                return None
            term = Term(holder, 1 if found is None else found.epoch + 1, now + self.seconds)
            connection.execute("INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?)", (self.name, *vars(term).values()))
        return term

    def renew(self, term: Term, now: float) -> Term | None:
        """Prolong a term; None where another one has begun."""
        with self._transaction() as connection:
            found = self._read(connection)
            if found is None or (found.holder, found.epoch) != (term.holder, term.epoch):
                return None
            prolonged = Term(term.holder, term.epoch, now + self.seconds)
            connection.execute("UPDATE lease SET expires_at = ? WHERE name = ?", (prolonged.expires_at, self.name))
        return prolonged

    def give_up(self, term: Term) -> None:
        """End a term, so that another may begin at once; the count of terms goes on."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE lease SET expires_at = 0 WHERE name = ? AND holder = ? AND epoch = ?",
                (self.name, term.holder, term.epoch),
            )

    def leader(self, now: float) -> Term | None:
        """Who leads at a moment; None where nobody does."""
        if not self.file.exists():
            return None
        with self._transaction() as connection:
            found = self._read(connection)
        return None if found is None or found.expires_at <= now or is_dead(found.holder) else found

    def _read(self, connection: sqlite3.Connection) -> Term | None:
        sql = "SELECT holder, epoch, expires_at FROM lease WHERE name = ?"
        row = connection.execute(sql, (self.name,)).fetchone()
        return None if row is None else Term(*row)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.file, timeout=_BUSY_S, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_TABLE)
            yield connection
            connection.execute("COMMIT")


def nearline_lease(lake: Lake) -> Lease:
    """Who leads the nearline lane of a lake; on the disk that all its writers share."""
    return Lease(lake.lock_path.with_name("nearline_lease.sqlite"), NEARLINE, SECONDS)
