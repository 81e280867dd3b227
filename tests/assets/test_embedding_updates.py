"""Only what changed is encoded again."""

import numpy as np
import pandas as pd

from assets.embedding_updates import EmbeddingUpdate, refresh_embeddings
from assets.lake import Lake
from models.interactions import FloatArray
from models.item_text import text_hashes
from models.schema import ITEM_TEXTS


def _land(lake: Lake, texts: dict[str, str]) -> None:
    frame = pd.DataFrame({"item_id": list(texts), "text": list(texts.values())})
    lake.replace_table(ITEM_TEXTS, frame.assign(text_hash=text_hashes(frame["text"])))


def _refresh(lake: Lake, version: str) -> tuple[list[str], EmbeddingUpdate]:
    seen: list[str] = []

    def encode(texts: list[str]) -> FloatArray:
        seen.extend(texts)
        return np.array([[len(text), 0.5] for text in texts], dtype=np.float32)

    return seen, refresh_embeddings(lake, version, encode)


def _vectors(lake: Lake) -> dict[str, list[float]]:
    frame = lake.frame("SELECT item_id, embedding FROM features.item_embeddings ORDER BY item_id")
    return {item: list(vector) for item, vector in zip(frame["item_id"], frame["embedding"], strict=True)}


def test_all_items_with_text_are_encoded_at_first(lake: Lake) -> None:
    _land(lake, {"a": "x", "b": "yy", "c": ""})
    seen, update = _refresh(lake, "v1")
    assert sorted(seen) == ["x", "yy"]
    assert (update.encoded, update.reused, update.removed, update.without_text) == (2, 0, 0, 1)
    assert _vectors(lake) == {"a": [1.0, 0.5], "b": [2.0, 0.5]}


def test_second_refresh_encodes_nothing(lake: Lake) -> None:
    _land(lake, {"a": "x", "b": "yy"})
    _refresh(lake, "v1")
    seen, update = _refresh(lake, "v1")
    assert seen == []
    assert (update.encoded, update.reused) == (0, 2)


def test_changed_text_is_encoded_and_gone_items_are_removed(lake: Lake) -> None:
    _land(lake, {"a": "x", "b": "yy", "c": "zzz", "d": "w"})
    _refresh(lake, "v1")
    _land(lake, {"a": "x", "b": "changed", "d": " "})
    seen, update = _refresh(lake, "v1")
    assert seen == ["changed"]
    assert (update.encoded, update.reused, update.removed, update.without_text) == (1, 1, 2, 1)
    assert _vectors(lake) == {"a": [1.0, 0.5], "b": [7.0, 0.5]}


def test_new_encoder_encodes_everything(lake: Lake) -> None:
    _land(lake, {"a": "x", "b": "yy"})
    _refresh(lake, "v1")
    seen, _ = _refresh(lake, "v2")
    assert sorted(seen) == ["x", "yy"]
    versions = lake.frame("SELECT DISTINCT encoder_version FROM features.item_embeddings")["encoder_version"]
    assert versions.tolist() == ["v2"]


def test_no_items_leave_an_empty_table(lake: Lake) -> None:
    _, update = _refresh(lake, "v1")
    assert (update.encoded, update.reused) == (0, 0)
    assert _vectors(lake) == {}
