from pathlib import Path

import duckdb
import pandas as pd

from assets.list_blocks import ENTRY, write_list_block


def _lists(users: list[str], length: int) -> pd.DataFrame:
    rows = [
        {
            "user_id": user,
            "rank": rank,
            "item_id": f"i{rank}",
            "score": 1.0 / rank,
            "source": "content",
            "reason": f"of {user}",
            "contributions": [{"term": "content", "amount": 1.0 / rank}],
            "propensity": 1.0,
        }
        for user in users
        for rank in range(1, length + 1)
    ]
    # As the pipeline joins them, batch by batch: their Arrow form then comes in several chunks.
    halves = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    return pd.concat(
        [
            pd.DataFrame(half, columns=["user_id", "rank", *ENTRY]).convert_dtypes(dtype_backend="pyarrow")
            for half in halves
        ]
    )


def _users(ids: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"user_id": ids, "last_event_at": pd.Timestamp("2026-01-31")})


def test_entries_are_nested_under_their_user_in_order(tmp_path: Path) -> None:
    write_list_block(_users(["u2", "u1"]), _lists(["u2", "u1"], 2), tmp_path / "block.parquet")
    rows = duckdb.sql(f"FROM '{tmp_path}/block.parquet'").fetchall()
    assert [(user, [entry["item_id"] for entry in items]) for user, _, items in rows] == [
        ("u2", ["i1", "i2"]),
        ("u1", ["i1", "i2"]),
    ]
    assert rows[1][2][1] == {
        "item_id": "i2",
        "score": 0.5,
        "source": "content",
        "reason": "of u1",
        "contributions": [{"term": "content", "amount": 0.5}],
        "propensity": 1.0,
    }


def test_a_user_without_entries_has_an_empty_list(tmp_path: Path) -> None:
    write_list_block(_users(["a", "b", "c"]), _lists(["a", "c"], 1), tmp_path / "some.parquet")
    assert duckdb.sql(f"SELECT user_id, len(items) FROM '{tmp_path}/some.parquet'").fetchall() == [
        ("a", 1),
        ("b", 0),
        ("c", 1),
    ]
    write_list_block(_users(["a"]), _lists([], 1), tmp_path / "none.parquet")
    assert duckdb.sql(f"SELECT items FROM '{tmp_path}/none.parquet'").fetchall() == [([],)]
