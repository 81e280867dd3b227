import shutil
from pathlib import Path

import numpy as np
import pytest

import assets.text_vectors
from assets.artifacts import ArtifactStore
from assets.text_vectors import KIND, TextVectors

VECTORS = np.arange(6, dtype=np.float32).reshape(3, 2)


def test_what_was_kept_is_found_again_by_its_text(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    TextVectors(store, "v1").keep(["a", "b", "c"], VECTORS)
    found = TextVectors(store, "v1").found(["c", "a", "other"])
    assert {key: vector.tolist() for key, vector in found.items()} == {"a": [0, 1], "c": [4, 5]}


def test_batches_add_up_and_another_encoder_sees_none_of_them(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    TextVectors(store, "v1").keep(["a"], VECTORS[:1])
    TextVectors(store, "v1").keep(["b"], VECTORS[1:2])
    assert set(TextVectors(store, "v1").found(["a", "b"])) == {"a", "b"}
    assert TextVectors(store, "v2").found(["a", "b"]) == {}


def test_nothing_is_found_where_nothing_was_kept_or_a_batch_is_gone(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    assert TextVectors(store, "v1").found(["a"]) == {}
    TextVectors(store, "v1").keep(["a"], VECTORS[:1])
    (half,) = (store.root / KIND).iterdir()
    shutil.rmtree(half)
    half.mkdir()
    assert TextVectors(store, "v1").found(["a"]) == {}


def test_only_some_batches_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets.text_vectors, "MOST_KEPT", 2)
    for key in "abc":
        TextVectors(ArtifactStore(tmp_path), "v1").keep([key], VECTORS[:1])
    assert len(list((tmp_path / KIND).iterdir())) == 2
