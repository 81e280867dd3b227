"""Lists are written anew without undoing what others did to them meanwhile."""

from datetime import datetime
from typing import Any

import duckdb
import pytest

from assets.lake import Lake
from assets.list_guard import strike
from assets.recent_lists import read_recent, replace_recent

NOW = datetime(2026, 1, 8, 12)
USERS = ("0a", "3b", "4c", "7d", "8e", "cf")

_INSERT = """
INSERT INTO serving.top_k BY NAME SELECT
    $surface AS surface, $user AS user_id,
    list_transform($items::VARCHAR[], lambda item: {
        'item_id': item, 'score': 1.0, 'source': 's', 'reason': 'r', 'contributions': NULL, 'propensity': NULL
    }) AS items,
    'm' AS model_version, 'i' AS index_version, $snapshot::BIGINT AS input_snapshot, $now::TIMESTAMP AS generated_at,
    $now::TIMESTAMP AS expires_at, $lane AS lane
"""


def _add(lake: Lake, user: str, *, lane: str = "nearline", surface: str = "home", snapshot: int = 5) -> None:
    chosen = {"user": user, "lane": lane, "surface": surface, "snapshot": snapshot, "items": ["a", user], "now": NOW}
    lake.write(lambda connection: connection.execute(_INSERT, chosen), message="a list")


def _data_files(lake: Lake) -> int:
    return len(lake.frame("FROM ducklake_list_files('lake', 'top_k', schema => 'serving')"))


def _put_together(lake: Lake, **chosen: Any) -> None:
    with lake.connect() as connection:
        read = read_recent(connection, "home", **chosen)
        lake.write(lambda c: replace_recent(c, "home", read), message="put together", connection=connection)


@pytest.fixture
def listed(lake: Lake) -> Lake:
    for user in USERS:
        _add(lake, user)
    return lake


def test_one_file_in_the_place_of_many(listed: Lake) -> None:
    before = listed.fingerprint("serving.top_k", exclude=())
    _put_together(listed, since=0)
    assert _data_files(listed) == 1
    assert listed.fingerprint("serving.top_k", exclude=()) == before


def test_only_the_lists_asked_for_are_written_anew(listed: Lake) -> None:
    _add(listed, "01", snapshot=4)
    _add(listed, "02", lane="batch")
    _add(listed, "0a", surface="basket")
    before = listed.fingerprint("serving.top_k", exclude=())
    _put_together(listed, since=5, share=("", "8"))
    # Four lists are in one file now; the other two of the lane, and those of others, are where they were.
    assert _data_files(listed) == 1 + 2 + 3
    _put_together(listed, since=5, share=("8", ""))
    assert _data_files(listed) == 2 + 3
    assert listed.fingerprint("serving.top_k", exclude=()) == before


def test_what_others_did_meanwhile_stays(listed: Lake) -> None:
    def remove(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("DELETE FROM serving.top_k WHERE user_id = '0a'")

    def replace(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("UPDATE serving.top_k SET input_snapshot = 9, lane = 'batch' WHERE user_id = '3b'")

    with listed.connect() as connection:
        read = read_recent(connection, "home", since=0)
        listed.write(remove, message="removed")
        listed.write(replace, message="replaced")
        # A struck list keeps its moment and its snapshot.
        listed.write(lambda c: strike(c, "home", ["4c"]), message="struck")
        _add(listed, "01")
        before = listed.fingerprint("serving.top_k", exclude=())
        listed.write(lambda c: replace_recent(c, "home", read), message="put together", connection=connection)
    assert listed.fingerprint("serving.top_k", exclude=()) == before
    users = listed.frame("SELECT user_id, len(items) AS n FROM serving.top_k ORDER BY user_id")
    assert users.set_index("user_id")["n"].to_dict() == {"01": 2, "3b": 2, "4c": 1, "7d": 2, "8e": 2, "cf": 2}
    # Those of three users are together; the replaced, the struck and the new one have a file each.
    assert _data_files(listed) == 1 + 3
