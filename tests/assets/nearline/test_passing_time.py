"""Time passes and no event comes: what ends leaves every list, what begins may be in them, and nothing else happens."""

import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from assets.batch_report import BatchReport
from assets.delta_check import Agreement, References, compare_with_full
from assets.domain import load_domain
from assets.nearline_watch import LakeWatch
from assets.resources import ArtifactResource
from assets.serving import Server
from assets.streams.contract import Delivery
from assets.streams.landing import LandingSource
from orchestration.nearline_arrivals import open_arrivals
from orchestration.nearline_job import nearline_job
from orchestration.nearline_lane import open_lane, open_watch, utc_now

DATA_UNTIL = datetime(2026, 1, 4)
END = datetime(2026, 1, 4, 15)
SECOND = timedelta(seconds=1)
LISTS_EXPIRE = DATA_UNTIL + timedelta(hours=48)

_WORKER = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from orchestration.nearline_lane import open_lane, open_watch
from orchestration.settings import load_settings

home, fatal, turn, now = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), datetime.fromisoformat(sys.argv[4])
passed = []

def on_stage(stage):
    passed.append(stage)
    if passed.count(fatal) == turn:
        os.kill(os.getpid(), signal.SIGKILL)

settings = load_settings(home=home, settle_seconds=0.0)
watch = open_watch(settings)
watch.refresh(now)
lane = open_lane(settings, watch, now=lambda: now, on_stage=on_stage)
while watch.left:
    lane.process(None, received_at=now, epoch=1)
"""


class Clock:
    """Shows what it is set to."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        return self.moment


def _process(market: Any, watch: LakeWatch, now: datetime, delivery: Delivery | None = None) -> BatchReport:
    return open_lane(market.settings, watch, now=lambda: now).process(delivery, received_at=now, epoch=1)


def _tick(market: Any, watch: LakeWatch, now: datetime) -> None:
    """What the worker does while nothing arrives, until nothing is left to do."""
    watch.refresh(now)
    while watch.left:
        _process(market, watch, now)


def _set(market: Any, item: str, column: str, moment: datetime) -> None:
    """An availability as the warehouse built it, and lists of all users that know it."""
    sql = f"UPDATE marts.items SET {column} = ? WHERE item_id = ?"
    market.lake.write(lambda connection: connection.execute(sql, [moment, item]), message="availability")
    market.publish()


def _block(market: Any, item: str, column: str, moment: datetime) -> None:
    """A rule that blocks an item from a moment on, or until it, and lists of all users that know it."""
    sql = f"INSERT INTO serving.item_rules (rule_id, action, field, match, {column}) VALUES ('r', 'block', ?, ?, ?)"
    market.lake.write(lambda connection: connection.execute(sql, ["item_id", item, moment]), message="rule")
    market.publish()


def _items(market: Any, row: str) -> Delivery:
    """A landed item `id,title,available_from,available_until`."""
    (market.settings.landing_path / "items" / "1.csv").write_text(
        f"item_id,title,available_from,available_until\n{row}\n"
    )
    source = LandingSource(
        market.lake, market.settings.landing_path, settle_seconds=-1e9, max_bytes=10**7, clock=lambda: END, kind="items"
    )
    source.resume({})
    delivery = source.poll(10, 0)
    assert delivery is not None
    return delivery


def _holding(market: Any, item: str) -> int:
    sql = "SELECT count(*) AS n FROM serving.top_k_items WHERE item_id = ?"
    return int(market.lake.frame(sql, [item])["n"].iloc[0])


def _short(market: Any) -> int:
    return int(market.lake.frame("SELECT count(*) AS n FROM serving.top_k WHERE len(items) < 5")["n"].iloc[0])


def _moments(market: Any, column: str) -> list[datetime]:
    sql = f"SELECT DISTINCT {column} AS moment FROM serving.top_k ORDER BY 1"
    return [moment.to_pydatetime() for moment in market.lake.frame(sql)["moment"]]


def _delta(market: Any, now: datetime) -> Agreement:
    watch = open_watch(market.settings)
    nearline = watch.refresh(now).server
    artifacts = ArtifactResource(path=str(market.settings.artifacts_path))
    batch = Server.load(market.lake, load_domain(market.settings.domain), artifacts)
    return compare_with_full(market.lake, References(batch, nearline, watch.rules, watch.as_of), seed=3)


def test_an_item_that_ends_leaves_every_list_of_an_idle_worker(market: Any, start_worker: Any) -> None:
    _set(market, "i02", "available_until", END)
    before, clock = market.lists(), Clock(END - SECOND)
    count = _holding(market, "i02")
    with start_worker(market, now=clock) as run:
        market.wait_until(lambda: bool(run.worker.health()["snapshot"]))
        time.sleep(2.5)
        assert market.lists() == before
        clock.moment = END
        market.wait_until(lambda: not _holding(market, "i02"), seconds=30)
        market.wait_until(lambda: not _short(market))
    assert count > 0
    assert sum(before[user] != items for user, items in market.lists().items()) == count
    assert {report.source for report in run.reports} == {"renewal"}
    assert _moments(market, "generated_at") == [DATA_UNTIL, END]


def test_an_item_that_is_withdrawn_at_this_moment_leaves_every_list(market: Any) -> None:
    watch = open_watch(market.settings)
    _process(market, watch, END, _items(market, "i02,Two,,2026-01-04T15:00:00Z"))
    _tick(market, watch, END)
    assert (_holding(market, "i02"), _short(market)) == (0, 0)


def test_a_rule_that_begins_empties_the_lists_of_what_it_blocks(market: Any) -> None:
    _block(market, "i02", "valid_from", END)
    watch, count = open_watch(market.settings), _holding(market, "i02")
    _tick(market, watch, END - SECOND)
    assert _holding(market, "i02") == count > 0
    _tick(market, watch, END)
    assert (_holding(market, "i02"), _short(market), watch.as_of) == (0, 0, END)


def test_what_a_rule_blocks_no_longer_is_in_the_lists_that_are_made_from_then_on(market: Any) -> None:
    _block(market, "i02", "valid_until", END)
    watch = open_watch(market.settings)
    for now, is_blocked in ((END - SECOND, True), (END, False)):
        watch.refresh(now)
        watch.leave(market.lists())
        _tick(market, watch, now)
        assert (_holding(market, "i02") == 0) == is_blocked


def test_between_two_boundaries_nothing_is_written(market: Any) -> None:
    _set(market, "i02", "available_until", END)
    watch = open_watch(market.settings)
    for now, as_of in ((DATA_UNTIL, DATA_UNTIL), (END - SECOND, DATA_UNTIL), (END, END), (END + 9 * SECOND, END)):
        _tick(market, watch, now)
        snapshot = market.lake.current_snapshot()
        _tick(market, watch, now)
        assert (watch.as_of, market.lake.current_snapshot()) == (as_of, snapshot)


@pytest.mark.parametrize("now", [LISTS_EXPIRE, datetime(2033, 1, 1)])
def test_data_whose_lists_have_expired_is_left_alone(market: Any, now: datetime) -> None:
    _set(market, "i02", "available_until", END)
    watch, before = open_watch(market.settings), market.lists()
    _tick(market, watch, now)
    assert (market.lists(), watch.as_of) == (before, DATA_UNTIL)
    _tick(market, watch, LISTS_EXPIRE - SECOND)
    assert (_holding(market, "i02"), watch.as_of) == (0, END)


def test_a_list_that_is_made_again_expires_when_it_would_have(market: Any) -> None:
    _set(market, "i02", "available_until", END)
    watch = open_watch(market.settings)
    _tick(market, watch, END)
    assert _moments(market, "generated_at") == [DATA_UNTIL, END]
    assert _moments(market, "expires_at") == [LISTS_EXPIRE]
    _process(market, watch, END, market.delivery("a.csv", ["u07,i00,purchase,2026-01-04T09:00:00Z,1"]))
    assert _moments(market, "expires_at") == [LISTS_EXPIRE, LISTS_EXPIRE + timedelta(days=1)]


def test_events_take_the_moment_on_and_never_back(market: Any) -> None:
    _set(market, "i02", "available_until", END)
    watch = open_watch(market.settings)
    rows = {"late.csv": "2026-01-02T09:00:00Z", "today.csv": "2026-01-04T09:00:00Z"}
    made = [
        _process(market, watch, END, market.delivery(name, [f"u07,i00,purchase,{at},1"])).as_of
        for name, at in rows.items()
    ]
    assert made == [END, DATA_UNTIL + timedelta(days=1)]
    _tick(market, watch, END)
    assert watch.as_of == DATA_UNTIL + timedelta(days=1)


def test_lists_equal_those_made_in_full_before_and_after_they_are_filled(market: Any) -> None:
    _set(market, "i02", "available_until", END)
    watch = open_watch(market.settings)
    watch.refresh(END)
    count = _holding(market, "i02")
    _process(market, watch, END)
    cut = _delta(market, END)
    assert (_holding(market, "i02"), cut.compared, cut.differing) == (0, 21 - count, ())
    assert cut.left_out == {"cut when an item ran out, waiting for the nearline lane": count}
    _tick(market, watch, END)
    filled = _delta(market, END + timedelta(hours=2))
    assert (filled.compared, filled.differing, filled.left_out) == (21, (), {})


def test_a_publication_for_the_end_of_the_data_is_put_right(market: Any) -> None:
    _set(market, "i02", "available_until", END)
    watch = open_watch(market.settings)
    _tick(market, watch, END)
    market.publish()
    assert _holding(market, "i02") > 0
    _tick(market, watch, END + SECOND)
    assert (_holding(market, "i02"), _short(market)) == (0, 0)
    watch.close()


@pytest.mark.parametrize("now", [END + timedelta(hours=1), LISTS_EXPIRE + timedelta(days=9)])
def test_who_leads_next_goes_on_from_the_same_moment(market: Any, now: datetime) -> None:
    _set(market, "i02", "available_until", END)
    _tick(market, open_watch(market.settings), END)
    made, successor = market.lists(), open_watch(market.settings)
    _tick(market, successor, now)
    assert (successor.as_of, successor.data_until, market.lists()) == (END, DATA_UNTIL, made)


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "turn"), [("staged", 1), ("committed", 1), ("advanced", 1), ("committed", 2)])
def test_a_worker_killed_while_time_passes_leaves_the_rest_to_the_next(market: Any, stage: str, turn: int) -> None:
    _set(market, "i02", "available_until", END)
    _tick(market, open_watch(market.settings), END)
    undisturbed = market.lists()
    market.begin_again()
    _set(market, "i02", "available_until", END)
    killed = subprocess.run(
        [sys.executable, "-c", _WORKER, str(market.settings.root), stage, str(turn), END.isoformat()],
        check=False,
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    _tick(market, open_watch(market.settings), END + SECOND)
    assert market.lists() == undisturbed


def test_an_item_that_becomes_available_reaches_those_whom_it_fits(text_market: Any) -> None:
    watch = open_watch(text_market.settings.model_copy(update={"nearline_new_item_users": 4}))
    _process(text_market, watch, END - SECOND, _items(text_market, "i99,red lipstick for nails,2026-01-04T15:00:00Z,"))
    _tick(text_market, watch, END - SECOND)
    assert _holding(text_market, "i99") == 0
    _tick(text_market, watch, END)
    assert _holding(text_market, "i99") == 4


def test_an_item_that_became_available_before_a_kill_is_offered_once_more_and_not_again(text_market: Any) -> None:
    _set(text_market, "i04", "available_from", END)
    killed = open_watch(text_market.settings)
    killed.refresh(END)
    assert killed.left > 1
    _tick(text_market, open_watch(text_market.settings), END)
    assert _holding(text_market, "i04") > 0
    successor = open_watch(text_market.settings)
    successor.refresh(END)
    assert successor.left == 0


def _live_market(market: Any) -> datetime:
    """Events of the day before yesterday, and an item that has ended a second ago; returns when."""
    now = utc_now().replace(microsecond=0)
    market.land("recent.csv", [f"u07,i00,purchase,{now - timedelta(days=2):%Y-%m-%dT%H:%M:%SZ},1"])
    assert _job(market).execute_in_process().success
    _set(market, "i02", "available_until", now - SECOND)
    return now - SECOND


def _job(market: Any) -> Any:
    return nearline_job(market.settings.model_copy(update={"nearline_linger_s": 0.0}))


def test_a_run_of_the_sensor_path_follows_the_clock(market: Any) -> None:
    ended = _live_market(market)
    assert _holding(market, "i02") > 0
    assert _job(market).execute_in_process().success
    assert (_holding(market, "i02"), _short(market)) == (0, 0)
    assert _moments(market, "generated_at")[-1] == ended


def test_what_has_ended_waits_for_one_run_and_for_another_after_a_publication(market: Any) -> None:
    ended = _live_market(market)
    for file in market.settings.landing_path.rglob("*.csv"):
        file.unlink()
    with open_arrivals(market.settings) as arrivals:
        assert arrivals.look("", "", ended - SECOND) is None
        (found, again) = (arrivals.look("", "", ended + timedelta(seconds=n)) for n in (5, 6))
        assert found is not None
        assert found == again
        assert found.says == f"what began or ended by itself until {ended.isoformat()}"
        assert arrivals.look("", found.passed, ended + timedelta(seconds=20)) is None
        market.publish()
        assert arrivals.look("", found.passed, ended + timedelta(seconds=40)) is not None
        assert arrivals.look("", "", ended + timedelta(days=3)) is None
