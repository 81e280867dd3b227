import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from assets.artifacts import ArtifactStore
from models.errors import DataError


def _folder(path: Path, text: str) -> Path:
    (path / "inner").mkdir(parents=True)
    (path / "inner" / "weights.txt").write_text(text)
    return path


def test_the_same_content_has_the_same_version(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "store")
    first = store.put(_folder(tmp_path / "one", "x"), "encoder")
    assert store.put(_folder(tmp_path / "two", "x"), "encoder") == first
    assert store.put(_folder(tmp_path / "three", "y"), "encoder") != first
    assert (store.path("encoder", first) / "inner" / "weights.txt").read_text() == "x"


def test_only_the_newest_of_a_kind_stay(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "store")
    for number in range(4):
        store.put_as(_folder(tmp_path / str(number), str(number)), "counts", f"v{number}")
        os.utime(store.path("counts", f"v{number}"), (number, number))
    store.keep_newest("counts", 2)
    assert sorted(entry.name for entry in (store.root / "counts").iterdir()) == ["v2", "v3"]
    assert list((store.root / ".staging").iterdir()) == []


def test_a_half_copy_is_never_visible_and_can_be_cleaned(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "store")
    dead = f"{socket.gethostname()}-{_ended_process()}-abc"
    _folder(store.root / ".staging" / dead, "x")
    with store.scratch() as mine:
        store.clean_staging()
        assert [entry.name for entry in (store.root / ".staging").iterdir()] == [mine.name]


def _ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_missing_artifact_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no encoder artifact 'abc'"):
        ArtifactStore(tmp_path).path("encoder", "abc")
