"""The SQLite file of a catalogue: how readers and the writer share it."""

import sqlite3
from contextlib import closing
from pathlib import Path

_WAIT_S = 5.0
_PREFIX = "sqlite:"


def sqlite_file(catalogue: str) -> Path | None:
    """The file of a catalogue, as of `Lake.catalogue`; None for one that is no SQLite file."""
    return Path(catalogue.removeprefix(_PREFIX)) if catalogue.startswith(_PREFIX) else None


def let_readers_in(file: Path) -> bool:
    """Keep the file in write-ahead mode, in which a commit locks no reader out and takes one flush to disk.

    Where the file system does not allow it, or somebody holds the file, the mode stays as it was, and a reader that
    meets a commit asks again.

    Returns:
        Whether the file is in that mode.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(file, timeout=_WAIT_S)) as connection:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    except sqlite3.OperationalError:
        return False
    return bool(mode == "wal")
