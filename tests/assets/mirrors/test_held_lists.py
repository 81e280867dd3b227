"""A mirror takes what this process holds where that is all that has changed, and reads the lake where it is not."""

from datetime import UTC, datetime, timedelta

import duckdb
import pandas as pd
import pytest

from assets.lake import Lake
from assets.list_table import ListFacts
from assets.mirrors.contract import ListMirror
from assets.mirrors.filling import catch_up
from assets.mirrors.held_lists import CommittedLists, HeldLists

NOW = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
FACTS = ListFacts("home", "m", "i", 1, NOW, NOW + timedelta(hours=5), "nearline")
_INSERT = """
INSERT INTO serving.top_k SELECT 'home', $user, [{'item_id': $item, 'score': 0.1, 'source': 's', 'reason': 'r',
    'contributions': [], 'propensity': NULL}], 'm', 'i', 1, $now, $expires, 'nearline', NULL
"""


def _publish(lake: Lake, user: str, item: str) -> int:
    """Give a user a list with one item, or take it away; returns the snapshot."""

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("DELETE FROM serving.top_k WHERE user_id = ?", [user])
        if item:
            values = {"user": user, "item": item, "now": NOW, "expires": FACTS.expires_at}
            connection.execute(_INSERT, values)

    return lake.write(work, message="lists").snapshot


def _held(user: str, item: str) -> CommittedLists:
    users = pd.DataFrame({"user_id": [user] if item else [], "last_event_at": pd.Series([NOW] if item else [])})
    row = {"user_id": user, "item_id": item, "score": 0.1, "source": "s", "reason": "r", "propensity": float("nan")}
    lists = pd.DataFrame([row]) if item else pd.DataFrame(columns=list(row))
    return CommittedLists(FACTS, users, lists, () if item else (user,))


def _items(mirror: ListMirror) -> dict[str, str]:
    found = {user: mirror.read("home", user, now=NOW) for user in "abc"}
    return {user: one.item_ids[0] for user, one in found.items() if one is not None}


@pytest.fixture
def held(lake: Lake, mirror: ListMirror) -> HeldLists:
    """Three lists in lake and mirror, nothing held yet. What is held says `held`, so that one sees who was asked."""
    for user in "abc":
        _publish(lake, user, "old")
    catch_up(lake, mirror, now=NOW)
    return HeldLists()


def test_what_is_held_is_not_read_from_the_lake(lake: Lake, mirror: ListMirror, held: HeldLists) -> None:
    held.add(_publish(lake, "a", "new"), _held("a", "held"))
    held.add(_publish(lake, "b", ""), _held("b", ""))
    lake.write(lambda connection: connection.execute("DELETE FROM ops.builds"), message="no lists")
    report = catch_up(lake, mirror, now=NOW, held=held)
    assert (report.written, report.removed, report.is_whole) == (1, 1, False)
    assert _items(mirror) == {"a": "held", "c": "old"}
    assert catch_up(lake, mirror, now=NOW, held=held).written == 0


def test_rows_that_were_written_anew_are_not_read(lake: Lake, mirror: ListMirror, held: HeldLists) -> None:
    held.add(_publish(lake, "a", "new"), _held("a", "held"))
    held.add(lake.write(_write_anew, message="upkeep").snapshot, CommittedLists.none())
    report = catch_up(lake, mirror, now=NOW, held=held)
    assert (report.written, report.removed, report.is_whole) == (1, 0, False)
    assert _items(mirror) == {"a": "held", "b": "old", "c": "old"}


def _write_anew(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("CREATE TEMP TABLE kept AS FROM serving.top_k")
    connection.execute("DELETE FROM serving.top_k")
    connection.execute("INSERT INTO serving.top_k FROM kept")


def test_the_last_commit_of_a_user_counts(lake: Lake, mirror: ListMirror, held: HeldLists) -> None:
    held.add(_publish(lake, "a", ""), _held("a", ""))
    held.add(_publish(lake, "a", "new"), _held("a", "held"))
    held.add(_publish(lake, "b", "new"), _held("b", "held"))
    held.add(_publish(lake, "b", ""), _held("b", ""))
    catch_up(lake, mirror, now=NOW, held=held)
    assert _items(mirror) == {"a": "held", "c": "old"}


def test_lists_of_others_are_read_from_the_lake(lake: Lake, mirror: ListMirror, held: HeldLists) -> None:
    held.add(_publish(lake, "a", "new"), _held("a", "held"))
    _publish(lake, "b", "new")
    catch_up(lake, mirror, now=NOW, held=held)
    assert _items(mirror) == {"a": "new", "b": "new", "c": "old"}
    held.add(_publish(lake, "c", "new"), _held("c", "held"))
    catch_up(lake, mirror, now=NOW, held=held)
    assert _items(mirror) == {"a": "new", "b": "new", "c": "held"}


def test_snapshots_that_are_forgotten_may_have_changed_lists(lake: Lake, mirror: ListMirror, held: HeldLists) -> None:
    _publish(lake, "b", "new")
    held.add(_publish(lake, "a", "new"), _held("a", "held"))
    state = mirror.state()
    assert state is not None
    with lake.connect() as connection:
        connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => [{state.snapshot + 1}])")
    catch_up(lake, mirror, now=NOW, held=held)
    assert _items(mirror) == {"a": "new", "b": "new", "c": "old"}


def test_what_is_too_much_to_hold_is_read_from_the_lake(lake: Lake, mirror: ListMirror, held: HeldLists) -> None:
    few = HeldLists(most=1)
    few.add(_publish(lake, "a", "new"), _held("a", "held"))
    few.add(_publish(lake, "b", "new"), _held("b", "held"))
    catch_up(lake, mirror, now=NOW, held=few)
    assert _items(mirror) == {"a": "new", "b": "new", "c": "old"}
