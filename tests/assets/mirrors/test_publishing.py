"""After a publication the mirror has its lists; whatever keeps it from them is told and stops nothing."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from assets.lake import Lake
from assets.mirrors import filling
from assets.mirrors.embedded import EmbeddedMirror
from assets.mirrors.publishing import mirror_lists
from assets.resources import MirrorResource

NOW = datetime(2026, 1, 1)


@pytest.fixture
def resource(tmp_path: Path) -> MirrorResource:
    return MirrorResource(kind="lmdb", path=str(tmp_path / "mirror"), budget_mb=1)


def _publish(lake: Lake, user: str) -> None:
    def work(connection: duckdb.DuckDBPyConnection) -> None:
        values = [user, NOW, NOW + timedelta(hours=1)]
        connection.execute("INSERT INTO serving.top_k VALUES ('home', ?, [], 'm', 'i', 1, ?, ?, 'batch', NULL)", values)

    lake.write(work, message="list")


_LOCK = """
import sqlite3, sys
other = sqlite3.connect(sys.argv[1], isolation_level=None)
# Where the file system allows no write-ahead mode, a lock refuses readers too.
other.execute("PRAGMA journal_mode = DELETE")
other.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def _catalogue_locked(lake: Lake, resource: MirrorResource) -> Iterator[None]:
    """By another process, since the locks of SQLite do not count within one."""
    words = [sys.executable, "-c", _LOCK, lake.catalogue.removeprefix("sqlite:")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        yield
        other.communicate("")


@contextmanager
def _catalogue_missing(lake: Lake, resource: MirrorResource) -> Iterator[None]:
    file = Path(lake.catalogue.removeprefix("sqlite:"))
    file.rename(file.with_suffix(".away"))
    file.mkdir()
    yield
    file.rmdir()
    file.with_suffix(".away").rename(file)


@contextmanager
def _data_missing(lake: Lake, resource: MirrorResource) -> Iterator[None]:
    lake.data_path.rename(lake.data_path.with_name("away"))
    yield
    lake.data_path.with_name("away").rename(lake.data_path)


@contextmanager
def _store_broken(lake: Lake, resource: MirrorResource) -> Iterator[None]:
    file = Path(resource.path) / "data.mdb"
    file.parent.mkdir()
    file.write_bytes(b"no database" * 1_000)
    yield
    file.unlink()


@contextmanager
def _lock_not_writable(lake: Lake, resource: MirrorResource) -> Iterator[None]:
    """The lock cannot be made, as where the folder belongs to somebody else."""
    lock = lake.lock_path.with_name("mirror.lock")
    lock.mkdir()
    yield
    lock.rmdir()


@contextmanager
def _another_fills(lake: Lake, resource: MirrorResource) -> Iterator[None]:
    with filling._turn(lake):
        yield


@pytest.mark.parametrize(
    "trouble",
    [_catalogue_locked, _catalogue_missing, _data_missing, _store_broken, _lock_not_writable, _another_fills],
)
def test_trouble_stops_no_publication_and_the_next_one_repairs(
    lake: Lake,
    resource: MirrorResource,
    trouble: Callable[[Lake, MirrorResource], AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(filling, "_LOCK_TIMEOUT_S", 0.05)
    _publish(lake, "a")
    with trouble(lake, resource):
        told = mirror_lists(lake, resource, now=NOW)
    assert str(told["mirror"]).startswith("behind: ")
    (warning,) = (record.message for record in caplog.records if record.name == "assets.mirrors.publishing")
    assert "they are read from the lake until" in warning
    assert mirror_lists(lake, resource, now=NOW) == {"mirror": "whole", "mirror_lists_written": 1}
    with EmbeddedMirror(Path(resource.path), budget_bytes=2**20) as mirror:
        assert mirror.read("home", "a", now=NOW) is not None


def test_only_what_has_changed_is_written(lake: Lake, resource: MirrorResource) -> None:
    for user in ("a", "b"):
        _publish(lake, user)
    assert mirror_lists(lake, resource, now=NOW) == {"mirror": "whole", "mirror_lists_written": 2}
    _publish(lake, "c")
    assert mirror_lists(lake, resource, now=NOW) == {"mirror": "changes", "mirror_lists_written": 1}


def test_without_a_mirror_nothing_is_written(lake: Lake) -> None:
    assert mirror_lists(lake, MirrorResource(), now=NOW) == {"mirror": "off"}
