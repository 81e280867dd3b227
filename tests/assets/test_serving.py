from typing import Any, cast

import duckdb
import pandas as pd
import pytest

from assets.domain import load_domain
from assets.lake import Lake
from assets.serving import Server, touched_users
from models.schema import USER_HISTORIES

MARTS = "CREATE SCHEMA marts; CREATE TABLE marts.users (user_id VARCHAR)"


def _server(model_version: str) -> Server:
    """What `touched_users` looks at: the version and the surface; no model is asked."""
    nothing = cast(Any, None)
    return Server(nothing, nothing, nothing, model_version, "index", load_domain("shop"))


def _histories(items: dict[str, list[str]], hides: str = "") -> pd.DataFrame:
    times = {user: [pd.Timestamp("2026-01-01")] * len(ids) for user, ids in items.items()}
    return pd.DataFrame(
        {
            "user_id": list(items),
            "item_ids": list(items.values()),
            "weights": [[1.0] * len(ids) for ids in items.values()],
            "event_ats": list(times.values()),
            "hidden_item_ids": [["z"] if user in hides else [] for user in items],
            "last_event_at": pd.Timestamp("2026-01-01"),
            "segment": None,
        }
    )


@pytest.fixture
def listed(lake: Lake) -> Lake:
    """Users a, b and c; a and b have lists made from their present histories by the model `m1`."""
    snapshot = lake.replace_table(USER_HISTORIES, _histories({"a": ["x"], "b": ["x", "y"]}))

    def insert(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute(MARTS)
        connection.execute("INSERT INTO marts.users VALUES ('a'), ('b'), ('c')")
        for user in ("a", "b"):
            connection.execute(
                "INSERT INTO serving.top_k VALUES ('home', ?, [], 'm1', 'index', ?, '2026-01-02', '2026-01-03', "
                "'batch', NULL)",
                [user, snapshot],
            )

    lake.write(insert, message="lists")
    return lake


def test_a_user_without_a_list_is_touched(listed: Lake) -> None:
    assert touched_users(listed, _server("m1")) == ["c"]


def test_a_user_with_a_new_event_is_touched(listed: Lake) -> None:
    listed.replace_table(USER_HISTORIES, _histories({"a": ["x", "z"], "b": ["x", "y"]}))
    assert touched_users(listed, _server("m1")) == ["a", "c"]


def test_a_user_who_hides_an_item_is_touched(listed: Lake) -> None:
    listed.replace_table(USER_HISTORIES, _histories({"a": ["x"], "b": ["x", "y"]}, hides="b"))
    assert touched_users(listed, _server("m1")) == ["b", "c"]


def test_users_of_histories_without_hidden_items_are_touched(listed: Lake) -> None:
    """As earlier versions have made them."""
    earlier = "CREATE OR REPLACE TABLE features.user_histories AS SELECT * EXCLUDE (hidden_item_ids) FROM {}"
    listed.write(
        lambda connection: connection.execute(earlier.format("features.user_histories")), message="an earlier version"
    )
    snapshot = listed.current_snapshot()
    renew = f"UPDATE serving.top_k SET input_snapshot = {snapshot}"
    listed.write(lambda connection: connection.execute(renew), message="lists")
    listed.create_tables()
    kept = listed.frame("SELECT user_id, len(hidden_item_ids) AS n FROM features.user_histories ORDER BY 1")
    assert kept.to_numpy().tolist() == [["a", 0], ["b", 0]]
    listed.replace_table(USER_HISTORIES, _histories({"a": ["x"], "b": ["x", "y"]}))
    assert touched_users(listed, _server("m1")) == ["a", "b", "c"]


def test_another_champion_touches_everyone(listed: Lake) -> None:
    assert touched_users(listed, _server("m2")) is None
