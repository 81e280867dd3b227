"""What is kept of event ids says of every event what the lake itself says."""

from datetime import datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from assets import known_events
from assets.ingest_commit import insert_new_rows
from assets.known_events import KnownEvents
from assets.lake import Lake
from assets.row_staging import STAGED_SCHEMAS

SCHEMA = STAGED_SCHEMAS["events"]
PLENTY = 10**6


def _rows(ids: list[str], day: int) -> pa.Table:
    sound = {"user_id": "u", "item_id": "i", "event_type": "view", "event_at": datetime(2026, 1, 1) + timedelta(day)}
    rows = [{**dict.fromkeys(SCHEMA.names), **sound, "event_id": id_} for id_ in ids]
    return pa.Table.from_pylist([{**row, "source_row": place + 1} for place, row in enumerate(rows)], schema=SCHEMA)


def _insert(lake: Lake, ids: list[str], *, day: int = 0, known: KnownEvents | None = None) -> tuple[list[int], int]:
    """Rows that were taken for new, and the snapshot."""

    def work(connection: duckdb.DuckDBPyConnection) -> list[int]:
        connection.register("accepted", _rows(ids, day))
        insert_new_rows(connection, "events", "accepted", datetime(2026, 1, 9), source_file="'f'", known=known)
        return [row for (row,) in connection.execute("SELECT source_row FROM fresh ORDER BY 1").fetchall()]

    written = lake.write(work, message="insert")
    return written.value, written.snapshot


def _loaded(lake: Lake, budget: int = PLENTY) -> KnownEvents:
    known = KnownEvents(lake, budget_bytes=budget)
    known.load(lake.current_snapshot())
    return known


def test_events_are_new_once_whatever_their_day(lake: Lake) -> None:
    _insert(lake, ["a", "b"])
    known = _loaded(lake)

    taken, snapshot = _insert(lake, ["c", "a", "c", "d"], day=3, known=known)
    known.written(snapshot)
    assert taken == [1, 4]
    assert known.is_true_at(lake.current_snapshot())

    taken, _ = _insert(lake, ["d", "e", "b"], day=3, known=known)
    assert taken == [2]
    assert sorted(lake.frame("SELECT event_id FROM raw.events")["event_id"]) == ["a", "b", "c", "d", "e"]


def test_what_others_insert_is_taken_in(lake: Lake) -> None:
    known = _loaded(lake)
    _, others = _insert(lake, ["a"])
    assert not known.is_true_at(others)

    known.take_in(others)
    taken, _ = _insert(lake, ["a", "b"], known=known)

    assert taken == [2]


def test_a_transaction_that_said_nothing_of_its_ids_is_read(lake: Lake) -> None:
    known = _loaded(lake)
    known.offer(None)
    _, snapshot = _insert(lake, ["a"])
    known.written(snapshot)

    assert known.is_true_at(snapshot)
    assert len(known) == 1


def test_the_same_events_are_new_as_the_lake_says(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_events, "MOST_RECENT", 7)
    random = np.random.default_rng(4)
    _insert(lake, [f"e{n}" for n in range(20)])
    known = _loaded(lake)
    in_lake = set(lake.frame("SELECT event_id FROM raw.events")["event_id"])
    for day in range(12):
        ids = [f"e{n}" for n in random.integers(80, size=6)]
        first_of_new = [n + 1 for n, id_ in enumerate(ids) if id_ not in in_lake and id_ not in ids[:n]]
        taken, snapshot = _insert(lake, ids, day=day % 3, known=known)
        known.written(snapshot)
        assert taken == first_of_new
        in_lake.update(ids)
    assert len(known) == len(in_lake)


def test_a_hash_that_two_ids_share_loses_no_event(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_events, "_ALL", "SELECT 1::UBIGINT AS id_hash FROM raw.events")
    monkeypatch.setattr(known_events, "_FIRST", known_events._FIRST.replace("hash(event_id)", "1::UBIGINT"))
    _insert(lake, ["a"])
    known = _loaded(lake)

    taken, _ = _insert(lake, ["a", "b"], day=2, known=known)

    assert taken == [2]


def test_more_than_the_budget_holds_is_not_kept(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    _insert(lake, ["a", "b", "c"])
    known = _loaded(lake, budget=16)
    assert not known.is_true_at(lake.current_snapshot())
    assert not known.is_wanted

    monkeypatch.setattr(known_events, "MOST_RECENT", 0)
    known = _loaded(lake, budget=24)
    _, snapshot = _insert(lake, ["d"], known=known)
    known.written(snapshot)
    assert not known.is_true_at(snapshot)
    assert not known.is_wanted
