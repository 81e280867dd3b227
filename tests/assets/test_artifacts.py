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


def test_a_half_copy_is_never_visible_and_can_be_cleaned(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "store")
    _folder(store.root / ".staging" / "left-by-a-kill", "x")
    store.clean_staging()
    assert not (store.root / ".staging").exists()


def test_a_missing_artifact_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no encoder artifact 'abc'"):
        ArtifactStore(tmp_path).path("encoder", "abc")
