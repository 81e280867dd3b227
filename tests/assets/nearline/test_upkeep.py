"""Upkeep makes files few and changes no row."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from assets import nearline_upkeep
from assets.domain import load_domain
from assets.known_events import KnownEvents
from assets.lake import Lake
from assets.nearline_upkeep import Upkeep, merge_appended
from assets.pseudonyms import pseudonymise
from assets.serving import touched_users
from models.schema import RAW_EVENTS
from orchestration.nearline_lane import open_lane, open_watch

NOW = datetime(2026, 1, 8, 12)
BATCHES = 4
EVERYBODY = [f"u{user:02d}" for user in range(2 * BATCHES)]

_STEPS = "SELECT count(*) AS n FROM ducklake_snapshots('lake') WHERE commit_message = 'nearline lists put together'"


def _files(lake: Lake, table: str) -> int:
    schema, name = table.split(".")
    files = lake.frame(f"FROM ducklake_list_files('lake', '{name}', schema => '{schema}')")
    return len(files) + int(files["delete_file"].notna().sum())


def _content(market: Any) -> tuple[dict[str, str], dict[str, str]]:
    return market.tables() | {"ops.list_freshness": market.lake.fingerprint("ops.list_freshness")}, market.lists()


def _run(market: Any, upkeep: Upkeep) -> int:
    """Some batches; returns the snapshot before the last one."""
    watch = open_watch(market.settings)
    lane, snapshot = open_lane(market.settings, watch, now=lambda: NOW), 0
    for batch in range(BATCHES):
        rows = [
            f"u{user:02d},i{batch:02d},purchase,2026-01-04T0{batch}:00:00Z,1" for user in (2 * batch, 2 * batch + 1)
        ]
        snapshot = watch.snapshot
        delivery = market.delivery(f"{batch}.csv", rows)
        source = market.source()
        upkeep.count(lane.process(delivery, received_at=NOW, epoch=1).snapshot)
        source.acknowledge(delivery)
        delivery.file.path.unlink()
    return snapshot


def test_files_are_put_together_and_no_row_changes(market: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearline_upkeep, "EVERY", BATCHES)
    monkeypatch.setattr(nearline_upkeep, "FANOUT", 1)
    lake = market.lake
    later = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)
    upkeep = Upkeep(lake, load_domain(market.settings.domain).surface, keep=timedelta(hours=1), now=lambda: later)
    snapshot = _run(market, upkeep)
    before = _content(market)
    # The lists of the batch lane, the deletions among them, and a file of each batch.
    assert _files(lake, "serving.top_k") == 2 + BATCHES
    steps = 0
    while upkeep.run_if_due():
        steps += 1
        assert _content(market) == before
    assert steps == 6 + 4
    # Over 30 % of the batch lane's lists were replaced, so they are written anew; the others are in a file of each
    # share of the users that has any.
    shares = {int(pseudonymise(user, "freshet-demo-key")[0], 16) // 4 for user in EVERYBODY}
    assert _files(lake, "serving.top_k") == 1 + len(shares)
    assert _files(lake, "raw.events") == _files(lake, "ops.list_freshness") == 1
    assert not upkeep.run_if_due()
    with pytest.raises(Exception, match="No snapshot found"):
        lake.frame("FROM raw.events", snapshot=snapshot)
    assert lake.frame("SELECT count(*) AS n FROM raw.events")["n"].item() == 120 + 2 * BATCHES


def test_young_snapshots_and_those_of_the_batch_lane_stay(market: Any) -> None:
    lake = market.lake
    before = set(lake.frame("SELECT snapshot_id FROM ducklake_snapshots('lake')")["snapshot_id"])
    later = datetime.now(UTC).replace(tzinfo=None)
    upkeep = Upkeep(lake, load_domain(market.settings.domain).surface, keep=timedelta(hours=1), now=lambda: later)
    snapshot = _run(market, upkeep)
    assert upkeep.forget_snapshots() == 0
    lake.write(lambda connection: merge_appended(connection, RAW_EVENTS), message="nearline files merged")
    # What a snapshot added is told as before, though the files are others.
    assert _inserted(lake, snapshot) == 2
    upkeep = Upkeep(lake, "home", keep=timedelta(0), now=lambda: later + timedelta(days=1))
    assert upkeep.forget_snapshots() == BATCHES
    assert before <= set(lake.frame("SELECT snapshot_id FROM ducklake_snapshots('lake')")["snapshot_id"])
    server = open_watch(market.settings).refresh().server
    # Their snapshots are gone, so their lists are made again by the next refresh of touched users.
    assert touched_users(lake, server) == sorted(pseudonymise(user, "freshet-demo-key") for user in EVERYBODY)


def _inserted(lake: Lake, snapshot: int) -> int:
    newest = lake.current_snapshot()
    sql = "SELECT count(*) AS n FROM ducklake_table_insertions('lake', 'raw', 'events', ?::BIGINT, ?::BIGINT)"
    return int(lake.frame(sql, [snapshot + 1, newest])["n"].item())


def test_every_level_takes_in_the_levels_below(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearline_upkeep, "EVERY", 1)
    monkeypatch.setattr(nearline_upkeep, "FANOUT", 3)
    monkeypatch.setattr(nearline_upkeep, "LEVELS", 2)
    told: list[int] = []
    upkeep = Upkeep(lake, "home", keep=timedelta(hours=1), now=lambda: NOW, on_written=told.append)
    files = []
    for batch in range(12):
        upkeep.count(lake.write(lambda c, user=f"u{batch}": _one_list(c, user), message="nearline lists").snapshot)
        while upkeep.run_if_due():
            pass
        files.append(_files(lake, "serving.top_k"))
    # Rounds make a file each; every third one makes one of its own and the two before.
    assert files == [1, 2, 3, 2, 3, 4, 3, 4, 5, 4, 5, 6]
    assert lake.frame("SELECT count(*) AS n FROM serving.top_k")["n"].item() == 12
    # Only of snapshots that upkeep made: most merges here have nothing to merge.
    made = lake.frame("SELECT snapshot_id, commit_message FROM ducklake_snapshots('lake')")
    ours = made["commit_message"].str.match("nearline .*(together|merged|added up|deletions)").fillna(False)
    assert told == sorted(made["snapshot_id"][ours.astype(bool)])
    assert len(told) >= 12


def test_batches_beside_upkeep_end_as_those_without_it(
    market: Any, start_worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearline_upkeep, "FANOUT", 1)
    ends, steps, slow_looks = [], [], []
    take_in = KnownEvents.take_in
    monkeypatch.setattr(KnownEvents, "take_in", lambda known, until: slow_looks.append(until) or take_in(known, until))
    for every in (10**9, 1):
        market.begin_again()
        monkeypatch.setattr(nearline_upkeep, "EVERY", every)
        with start_worker(market) as run:
            market.wait_until(lambda: run.worker.health()["is_warm"])
            slow_looks.clear()
            for batch in range(BATCHES):
                rows = [f"u{user:02d},i{batch:02d},purchase,2026-01-04T0{batch}:00:00Z,1" for user in range(batch + 2)]
                market.land(f"{batch}.csv", rows)
                market.wait_until(lambda done=batch + 1: len(run.reports) == done)
        ends.append((market.tables(), market.lists()))
        steps.append(market.lake.frame(_STEPS)["n"].item())
        # What upkeep wrote is known to be nothing new; but for a look in the moment of its commit.
        assert len(slow_looks) <= 2
    assert ends[0] == ends[1]
    assert steps[0] == 0
    assert steps[1] > 0


def _one_list(connection: Any, user: str) -> None:
    snapshot = connection.execute("FROM ducklake_current_snapshot('lake')").fetchall()[0][0]
    connection.execute(
        "INSERT INTO serving.top_k BY NAME SELECT 'home' AS surface, ? AS user_id, [] AS items, 'm' AS model_version, "
        "'i' AS index_version, ?::BIGINT AS input_snapshot, ?::TIMESTAMP AS generated_at, ?::TIMESTAMP AS expires_at, "
        "'nearline' AS lane",
        [user, snapshot, NOW, NOW],
    )
