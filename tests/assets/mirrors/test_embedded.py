from datetime import datetime, timedelta
from pathlib import Path

import pytest

from assets.mirrors.contract import Entry, microseconds
from assets.mirrors.embedded import EmbeddedMirror
from models.errors import MirrorError

NOW = datetime(2026, 1, 1)
BUDGET = 400_000


@pytest.fixture
def mirror(tmp_path: Path) -> EmbeddedMirror:
    return EmbeddedMirror(tmp_path / "mirror", budget_bytes=BUDGET)


def _entries(first: int, count: int, *, hours: float = 1, size: int = 1_500) -> list[Entry]:
    expires_at = microseconds(NOW + timedelta(hours=hours))
    return [Entry("home", f"u{n:06d}", expires_at, b"x" * size) for n in range(first, first + count)]


def test_the_lists_that_expire_first_go_when_it_is_full(mirror: EmbeddedMirror) -> None:
    mirror.put(_entries(0, 40, hours=5), stamp=1, now=NOW)
    for first in range(100, 1_100, 100):
        mirror.put(_entries(first, 100), stamp=1, now=NOW)
        assert mirror.size <= BUDGET
    mirror.remove_expired(NOW + timedelta(hours=2))
    assert mirror.count() == 40


@pytest.mark.parametrize("size", [10, 300, 900, 1_500, 5_000])
def test_the_file_takes_no_more_than_was_counted(tmp_path: Path, size: int) -> None:
    """Lists of all sizes come, are replaced and go, and the file stays below what it may take."""
    with EmbeddedMirror(tmp_path / "mirror", budget_bytes=BUDGET) as mirror:
        for turn in range(20):
            mirror.put(_entries(turn * 50, 400, hours=1 + turn, size=size), stamp=1, now=NOW)
        pages = (tmp_path / "mirror" / "data.mdb").stat().st_size
    assert pages <= BUDGET + BUDGET // 2 + 2**20


def test_counted_bytes_come_back_to_nothing(mirror: EmbeddedMirror) -> None:
    mirror.put(_entries(0, 50), stamp=1, now=NOW)
    mirror.put(_entries(25, 50, size=90), stamp=2, now=NOW)
    mirror.remove([("home", f"u{n:06d}") for n in range(100)])
    assert (mirror.size, mirror.count()) == (0, 0)


def test_two_users_of_one_process_share_the_file(mirror: EmbeddedMirror, tmp_path: Path) -> None:
    other = EmbeddedMirror(tmp_path / "mirror", budget_bytes=BUDGET)
    mirror.put(_entries(0, 1), stamp=1, now=NOW)
    mirror.close()
    assert other.count() == 1
    other.close()


def test_a_damaged_file_is_told_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"no database" * 1_000)
    with pytest.raises(MirrorError, match="delete the folder"):
        EmbeddedMirror(tmp_path, budget_bytes=BUDGET)
