"""Only complete files are read."""

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.landing_zone import LandingZone, hash_file
from models.errors import UnreadableFileError

NOW = datetime(2024, 6, 1, tzinfo=UTC)


@pytest.fixture
def zone(tmp_path: Path) -> LandingZone:
    return LandingZone(tmp_path)


def put(zone: LandingZone, name: str, *, age_s: float = 60, content: str = "user_id\nu1\n") -> Path:
    path = zone.folder / "users" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    modified = (NOW - timedelta(seconds=age_s)).timestamp()
    os.utime(path, (modified, modified))
    return path


def test_unfinished_names_are_left_alone(zone: LandingZone) -> None:
    for name in ("b.csv", "2024/a.csv", ".c.csv", "d.csv.tmp", "e.csv.part", ".hidden/f.csv"):
        put(zone, name)

    assert [path.name for path in zone.candidates("users")] == ["a.csv", "b.csv"]
    assert zone.candidates("items") == []


def test_a_file_must_have_been_left_alone_for_a_while(zone: LandingZone) -> None:
    fresh, settled = put(zone, "fresh.csv", age_s=3), put(zone, "settled.csv", age_s=10)

    assert zone.inspect("users", fresh, now=NOW, settle_seconds=10) is None
    found = zone.inspect("users", settled, now=NOW, settle_seconds=10)
    assert found is not None
    assert (found.name, found.file_hash) == ("users/settled.csv", hash_file(settled))


def test_a_published_file_is_complete_at_once(zone: LandingZone) -> None:
    tables = [pa.table({"user_id": ["u1", "u2"]}), pa.table({"user_id": ["u3"]})]

    published = zone.publish("users", "crm", tables)

    (path,) = published.files
    assert published.rows == 3
    assert zone.inspect("users", path, now=datetime.now(UTC), settle_seconds=3600) is not None
    assert (
        zone.publish("users", "crm", [pa.table({"user_id": ["u1", "u2"]}), pa.table({"user_id": ["u3"]})]) == published
    )
    assert zone.candidates("users") == [path]


def test_a_name_that_claims_another_hash_proves_nothing(zone: LandingZone) -> None:
    path = put(zone, "crm.0123456789abcdef.parquet", age_s=1)

    assert zone.inspect("users", path, now=NOW, settle_seconds=10) is None


def test_a_failed_publication_leaves_nothing(zone: LandingZone) -> None:
    def tables() -> object:
        yield pa.table({"user_id": ["u1"]})
        raise UnreadableFileError("cut off")

    with pytest.raises(UnreadableFileError):
        zone.publish("users", "crm", tables())  # type: ignore[arg-type]

    assert list((zone.folder / "users").iterdir()) == []


def test_a_change_after_hashing_is_noticed(zone: LandingZone) -> None:
    path = put(zone, "a.csv")
    file = zone.inspect("users", path, now=NOW, settle_seconds=0)
    assert file is not None
    assert not file.has_changed()

    put(zone, "a.csv", age_s=0, content="user_id\nu1\nu2\n")

    assert file.has_changed()


def test_a_rejected_file_is_set_aside_with_the_reason(zone: LandingZone) -> None:
    path = put(zone, "a.csv")

    moved = zone.reject("users", path, UnreadableFileError("a.csv: damaged"))

    assert moved == zone.folder / "rejected" / "users" / "a.csv"
    assert not path.exists()
    assert moved.with_name("a.csv.reason.txt").read_text() == "a.csv: damaged\n"


def test_what_others_remove_meanwhile_is_not_found(zone: LandingZone, repeating: Any) -> None:
    put(zone, "kept.csv")
    (zone.folder / "users" / "nowhere.csv").symlink_to(zone.folder / "gone.csv")

    def come_and_go(_: int) -> None:
        for name in ("one/a.csv", "one/b.csv", "two/c.csv"):
            put(zone, name)
        for name in ("one", "two"):
            shutil.rmtree(zone.folder / "users" / name)

    with repeating(come_and_go):
        for _ in range(100):
            assert "kept.csv" in [file.path.name for file in zone.found("users")]
    assert [file.path.name for file in zone.found("users")] == ["kept.csv"]


def test_a_file_that_is_gone_is_not_rejected(zone: LandingZone) -> None:
    path = put(zone, "a.csv")
    path.unlink()
    assert zone.reject("users", path, UnreadableFileError("a.csv: damaged")) is None
    assert [file for file in (zone.folder / "rejected").rglob("*") if file.is_file()] == []
