"""What the models read from the lake."""

import numpy as np
import pandas as pd
import pytest

from assets.lake import Lake, append_frame
from assets.model_inputs import read_catalogue, read_event_types, read_log
from models.schema import MARTS, TRAINING_INTERACTIONS


@pytest.fixture
def filled(lake: Lake) -> Lake:
    """User v chose b, then a; user u chose a. Stored in no order."""
    tables = {table.name: table for table in MARTS}
    day = pd.Timestamp("2026-01-01")
    rows = [
        ("e2", "v", "a", day + pd.Timedelta(days=1), 1.0, 1, "train"),
        ("e1", "v", "b", day, 1.0, 0, "train"),
        ("e3", "u", "a", day, 1.0, 0, "train"),
        ("e4", "u", "b", day + pd.Timedelta(days=1), 1.0, 1, "test"),
    ]
    frame = pd.DataFrame(rows, columns=TRAINING_INTERACTIONS.column_names)
    types = frame.assign(event_type=["view", "purchase", "cart", "view"])

    def write(connection) -> None:
        connection.execute("CREATE SCHEMA marts")
        for table in tables.values():
            columns = ", ".join(f'"{column.name}" {column.type}' for column in table.columns)
            connection.execute(f"CREATE TABLE {table.qualified_name} ({columns})")
        items = pd.DataFrame({"item_id": ["a", "b"], "count_interactions": 1})
        append_frame(connection, tables["items"], items.reindex(columns=tables["items"].column_names))
        interactions = tables["interactions"]
        append_frame(connection, interactions, types.reindex(columns=interactions.column_names))
        append_frame(connection, TRAINING_INTERACTIONS, frame)

    lake.write(write, message="test data")
    return lake


def test_event_types_are_in_the_order_of_the_log(filled: Lake) -> None:
    catalogue = read_catalogue(filled, with_embeddings=False)
    log = read_log(filled, catalogue, splits=("train",))
    codes = read_event_types(filled, catalogue, splits=("train",))
    names = np.array(["cart", "purchase", "view"])[codes]
    assert log.user_ids[log.user_rows].tolist() == ["u", "v", "v"]
    assert names.tolist() == ["cart", "purchase", "view"]
