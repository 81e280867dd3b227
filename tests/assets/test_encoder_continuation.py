"""Which encoder a fine-tuning goes on from."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from assets.artifacts import ArtifactStore
from assets.encoder_continuation import FACTS, Origin, find_parent, origin_of
from assets.encoder_stages import ENCODER_KIND
from models.encoder_config import FinetuningConfig

CONFIG = FinetuningConfig(continue_rounds=2)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def _put(store: ArtifactStore, origin: Origin | None, config: FinetuningConfig = CONFIG) -> str:
    """Store an encoder that tells its origin; returns its version."""
    facts = {"config": asdict(config), "seed": 7} | ({"origin": asdict(origin)} if origin else {})
    with store.scratch() as folder:
        (folder / FACTS).write_text(json.dumps(facts))
        return store.put(folder, ENCODER_KIND)


def _found(store: ArtifactStore, version: str, until: int, config: FinetuningConfig = CONFIG) -> str:
    parent = find_parent(store, version, config, 7, "minilm", until)
    return parent.version if parent else ""


def test_new_days_go_on_from_the_last_encoder(store: ArtifactStore) -> None:
    last = _put(store, Origin("minilm", 100))
    assert _found(store, last, 200) == last


def test_by_default_every_training_starts_over(store: ArtifactStore) -> None:
    config = FinetuningConfig()
    last = _put(store, Origin("minilm", 100), config)
    assert _found(store, last, 200, config) == ""


def test_the_same_data_take_the_same_parent_again(store: ArtifactStore) -> None:
    first = _put(store, Origin("minilm", 100))
    second = _put(store, Origin("minilm", 200, first, 1))
    assert _found(store, second, 200) == first


def test_the_same_data_start_over_where_they_did_before(store: ArtifactStore) -> None:
    assert _found(store, _put(store, Origin("minilm", 100)), 100) == ""


def test_a_training_starts_over_after_so_many_rounds(store: ArtifactStore) -> None:
    assert _found(store, _put(store, Origin("minilm", 100, "v", 2)), 200) == ""


@pytest.mark.parametrize("other", [replace(CONFIG, steps=1), replace(CONFIG, replay_share=0.1)])
def test_other_settings_start_over(store: ArtifactStore, other: FinetuningConfig) -> None:
    assert _found(store, _put(store, Origin("minilm", 100)), 200, other) == ""


def test_another_encoder_starts_over(store: ArtifactStore) -> None:
    assert _found(store, _put(store, Origin("bge", 100)), 200) == ""


@pytest.mark.parametrize("version", ["", "gone"])
def test_without_a_stored_encoder_a_training_starts_over(store: ArtifactStore, version: str) -> None:
    assert _found(store, version, 200) == ""


def test_an_encoder_of_before_without_an_origin_starts_over(store: ArtifactStore) -> None:
    assert _found(store, _put(store, None), 200) == ""


def test_rounds_are_counted(store: ArtifactStore) -> None:
    last = _put(store, Origin("minilm", 100, "v", 1))
    parent = find_parent(store, last, CONFIG, 7, "minilm", 200)
    assert origin_of(parent, "minilm", 200) == Origin("minilm", 200, last, 2)
