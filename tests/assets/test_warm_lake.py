"""A lake whose connections stay attached reads and writes as the lake that it is made from."""

import threading
from pathlib import Path

import duckdb
import pytest

from assets import warm_lake
from assets.lake import Lake
from assets.warm_lake import WarmLake, warmed

COUNT = "SELECT count(*) AS n FROM ops.pending_days"


@pytest.fixture
def warm(lake: Lake) -> WarmLake:
    return warmed(lake)


def _add(lake: Lake, day: int) -> int:
    sql = f"INSERT INTO ops.pending_days VALUES (DATE '2026-01-01' + {day}, 1)"
    return lake.write(lambda connection: connection.execute(sql), message="add").snapshot


def _count(lake: Lake, snapshot: int | None = None) -> int:
    return int(lake.frame(COUNT, snapshot=snapshot)["n"].item())


def test_it_sees_what_others_write_and_others_see_what_it_writes(lake: Lake, warm: WarmLake) -> None:
    assert _count(warm) == 0
    _add(lake, 0)
    assert _count(warm) == 1
    _add(warm, 1)
    assert _count(lake) == 2


def test_an_attachment_is_used_again(warm: WarmLake, monkeypatch: pytest.MonkeyPatch) -> None:
    attached: list[int] = []
    original = Lake.attach

    def counted(self: Lake, connection: duckdb.DuckDBPyConnection, snapshot: int | None = None) -> None:
        attached.append(1)
        original(self, connection, snapshot)

    monkeypatch.setattr(Lake, "attach", counted)
    for _ in range(5):
        _count(warm, warm.current_snapshot())
    assert len(attached) == 1
    monkeypatch.setattr(warm_lake, "USES", 1)
    _count(warm)
    _count(warm)
    assert len(attached) == 2


def test_an_earlier_snapshot_is_read_as_it_was(warm: WarmLake) -> None:
    snapshots = [_add(warm, day) for day in range(3)]
    assert [_count(warm, snapshot) for snapshot in snapshots] == [1, 2, 3]


def test_the_newest_snapshot_stays_while_others_write(lake: Lake, warm: WarmLake) -> None:
    snapshot = _add(lake, 0)
    with warm.connect(snapshot=snapshot) as connection:
        before = connection.execute(COUNT).fetchall()
        with lake.connect() as other:
            assert other.execute(COUNT).fetchall() == before
        assert connection.execute(COUNT).fetchall() == before == [(1,)]
    _add(lake, 1)
    assert _count(warm, snapshot) == 1


def test_nothing_temporary_is_left_for_the_next_connection(warm: WarmLake) -> None:
    with warm.connect() as connection:
        connection.execute("CREATE TEMP TABLE leftover (x INTEGER)")
    with warm.connect() as connection, pytest.raises(duckdb.CatalogException):
        connection.execute("FROM leftover")


def test_a_connection_that_failed_is_not_used_again(warm: WarmLake) -> None:
    _count(warm)
    with pytest.raises(duckdb.Error), warm.connect() as connection:
        connection.execute("FROM nothing")
    assert warm._idle.empty()
    assert _count(warm) == 0


def test_threads_have_connections_of_their_own(warm: WarmLake) -> None:
    found: list[int] = []
    with warm.connect():
        thread = threading.Thread(target=lambda: found.append(_count(warm)))
        thread.start()
        thread.join(30)
    assert found == [0]
    assert warm._idle.qsize() == 2
    warm.close()
    assert warm._idle.empty()


def test_it_is_the_same_lake(lake: Lake, warm: WarmLake) -> None:
    assert (warm.catalogue, warm.data_path, warm.lock_path) == (lake.catalogue, lake.data_path, lake.lock_path)
    assert isinstance(warm.lock_path, Path)
