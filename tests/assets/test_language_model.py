"""The fine-tuned encoder as an asset: from the pretrained one, or going on from the former one."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from assets.builds import last_build
from assets.encoder_stages import ENCODER_KIND
from assets.lake import Lake, append_frame
from assets.language_model import FINETUNED, finetuned_encoder, pretrained_encoder
from assets.resources import ArtifactResource, DomainResource, EncoderResource, LakeResource, RegistryResource
from models.item_text import text_hashes
from models.schema import ITEM_TEXTS, MARTS, TRAINING_INTERACTIONS

TEXTS = [f"{colour} {thing}" for colour in ("red", "blue", "green") for thing in ("lipstick", "polish", "shampoo")]
DOMAIN = """
[event_weights]
view = 1.0
[pretraining]
steps = 0
[finetuning]
steps = 6
batch_size = 8
hard_negatives = 2
continue_rounds = 1
"""


def _land(lake: Lake, days: int) -> None:
    """Add `days` days to what is there; on each, 20 users choose one of three items of their colour."""
    rng, rows = np.random.default_rng(days), []
    tables = {table.name: table for table in MARTS}
    begun = lake.frame("SELECT count(DISTINCT event_at) AS n FROM features.training_interactions")["n"].iloc[0]
    for user in range(20):
        for day in range(begun, begun + days):
            at = pd.Timestamp("2026-01-01") + timedelta(days=int(day))
            item = str(3 * (user % 3) + int(rng.integers(3)))
            rows.append((f"e{user}-{day}", f"u{user:02d}", item, at, 1.0, int(day), "train"))
    frame = pd.DataFrame(rows, columns=TRAINING_INTERACTIONS.column_names)
    marts = frame.assign(event_day=frame["event_at"].dt.date, event_type="view")
    texts = pd.DataFrame({"item_id": [str(row) for row in range(9)], "text": TEXTS})

    def write(connection: Any) -> None:
        if not begun:
            connection.execute("CREATE SCHEMA marts")
            for table in tables.values():
                columns = ", ".join(f'"{column.name}" {column.type}' for column in table.columns)
                connection.execute(f"CREATE TABLE {table.qualified_name} ({columns})")
            append_frame(connection, tables["items"], texts.reindex(columns=tables["items"].column_names))
        append_frame(connection, tables["interactions"], marts.reindex(columns=tables["interactions"].column_names))
        append_frame(connection, TRAINING_INTERACTIONS, frame)

    lake.write(write, message="test data")
    lake.replace_table(ITEM_TEXTS, texts.assign(text_hash=text_hashes(texts["text"])))


@pytest.fixture
def resources(lake: Lake, tmp_path: Path, tiny_encoder: Path) -> dict[str, Any]:
    domain = tmp_path / "colours.toml"
    domain.write_text(DOMAIN)
    return {
        "lake": LakeResource(catalogue=lake.catalogue, data_path=str(lake.data_path), lock_path=str(lake.lock_path)),
        "domain": DomainResource(name=str(domain)),
        "artifacts": ArtifactResource(path=str(tmp_path / "artifacts")),
        "registry": RegistryResource(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}"),
        "encoder": EncoderResource(spec=str(tiny_encoder)),
    }


def _build(resources: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Version, metadata and origin of the next fine-tuned encoder."""
    made = finetuned_encoder(**resources)
    record = last_build(resources["lake"].lake, FINETUNED)
    assert record is not None
    folder = resources["artifacts"].store.path(ENCODER_KIND, record.version)
    return record.version, dict(made.metadata), json.loads((folder / "freshet.json").read_text())["origin"]


@pytest.mark.slow
def test_new_days_continue_the_former_encoder_and_the_same_days_end_alike(
    lake: Lake, resources: dict[str, Any]
) -> None:
    _land(lake, 6)
    pretrained_encoder(**resources)
    first, _, origin = _build(resources)
    assert (origin["parent"], origin["rounds"]) == ("", 0)
    assert _build(resources)[0] == first
    _land(lake, 6)
    second, metadata, origin = _build(resources)
    assert (origin["parent"], origin["rounds"]) == (first, 1)
    assert {"forgetting", "learning"} <= metadata.keys()
    assert _build(resources)[0] == second
    _land(lake, 1)
    assert _build(resources)[2]["parent"] == ""  # after so many rounds it starts over
