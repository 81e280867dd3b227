"""The follower that fills the mirror beside a worker."""

import threading
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from assets.lake import Lake
from assets.mirrors.embedded import EmbeddedMirror
from assets.mirrors.filling import FillReport
from models.errors import ConfigurationError
from orchestration.mirroring import MirrorFollower, mirror_of, open_list_reader
from orchestration.settings import load_settings

NOW = datetime(2026, 1, 1)


def _publish(lake: Lake, user: str) -> None:
    def work(connection: duckdb.DuckDBPyConnection) -> None:
        values = [user, NOW, NOW + timedelta(hours=1)]
        connection.execute("INSERT INTO serving.top_k VALUES ('home', ?, [], 'm', 'i', 1, ?, ?, 'batch', NULL)", values)

    lake.write(work, message="list")


def test_a_commit_is_in_the_mirror_without_waiting_for_the_next_look(lake: Lake, tmp_path: Path) -> None:
    filled = threading.Event()

    def on_filled(report: FillReport) -> None:
        if report.written:
            filled.set()

    mirror = EmbeddedMirror(tmp_path / "mirror", budget_bytes=2**20)
    # Reading while the other thread commits may find the catalogue locked; that is tried again.
    follower = MirrorFollower(
        lake, mirror, now=lambda: NOW, on_filled=on_filled, on_error=lambda error: None, recheck_s=3_600
    )
    with follower:
        _publish(lake, "a")
        follower.committed(lake.current_snapshot(), None)
        assert filled.wait(60)
        assert mirror.read("home", "a", now=NOW) is not None
        _publish(lake, "b")
    with EmbeddedMirror(tmp_path / "mirror", budget_bytes=2**20) as reopened:
        assert reopened.count() == 2


def test_the_setting_chooses_the_mirror(tmp_path: Path) -> None:
    assert mirror_of(load_settings(home=tmp_path, mirror="off")) is None
    opened = mirror_of(load_settings(home=tmp_path))
    assert isinstance(opened, EmbeddedMirror)
    opened.close()
    with pytest.raises(ConfigurationError, match="FRESHET_MIRROR") as caught:
        load_settings(home=tmp_path, mirror="memcached://:hunter2@host")
    assert "hunter2" not in str(caught.value)


def test_a_mirror_that_cannot_be_opened_leaves_the_reader_to_the_lake(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "data.mdb").write_bytes(b"no database" * 1_000)
    _publish(lake, "a")
    settings = load_settings(home=tmp_path, catalogue=lake.catalogue, data_path=lake.data_path)
    with open_list_reader(settings) as reader:
        found = reader.read("a")
        assert "delete the folder" in reader.trouble
    assert found is not None
    assert found.origin == "lake"
