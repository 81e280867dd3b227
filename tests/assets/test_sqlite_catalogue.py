"""A commit to a SQLite catalogue locks no reader out."""

import sqlite3
from contextlib import closing
from pathlib import Path

from assets.lake import Lake
from assets.sqlite_catalogue import let_readers_in


def _file(lake: Lake) -> Path:
    return Path(lake.catalogue.removeprefix("sqlite:"))


def test_a_reader_answers_while_a_commit_holds_the_catalogue(lake: Lake) -> None:
    lake.write(lambda c: c.execute("INSERT INTO ops.pending_days VALUES (DATE '2026-01-01', 1)"), message="x")
    with closing(sqlite3.connect(_file(lake), isolation_level=None)) as writer:
        # As a commit does while it writes; without the write-ahead mode every reader is refused from here on.
        writer.execute("BEGIN EXCLUSIVE")
        writer.execute("UPDATE ducklake_metadata SET value = value")
        with lake.connect() as connection:
            assert connection.execute("SELECT rows_added FROM ops.pending_days").fetchall() == [(1,)]
        writer.execute("ROLLBACK")


def test_a_catalogue_of_before_is_changed_once_nobody_holds_it(lake: Lake) -> None:
    file = _file(lake)
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert not let_readers_in(file)
        writer.execute("ROLLBACK")
    lake.create_tables()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
