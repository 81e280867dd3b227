"""The lane on a small market: what it writes equals what the batch lane makes of the same events."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from assets.batch_report import BatchReport
from assets.domain import load_domain
from assets.ingest import ingest_landing
from assets.lake import BOOKKEEPING
from assets.nearline_watch import LakeWatch
from assets.pending_days import pending_days
from assets.pseudonyms import pseudonymise
from assets.streams.contract import Delivery
from assets.user_states import NO_DAYS, UserStates
from assets.warehouse_sql import InteractionRules
from models.errors import LeaseLostError, PositionMovedError
from orchestration.home import warehouse_project
from orchestration.nearline_lane import open_lane, open_watch

from .streams import CUT_AT_ANY_ROW, open_stream

Deliver = Callable[[list[str]], Delivery]
NOW = datetime(2026, 1, 8, 12)
KEY = "freshet-demo-key"
AWKWARD = [
    "u07,i00,purchase,2026-01-04T09:00:00Z,2",
    "u07,i01,view,2026-01-04T09:00:00Z,",
    "u07,i01,view,2026-01-04T09:00:03Z,",  # repeats the one before
    "u07,i00,cancel,2026-01-04T09:30:00Z,1",  # leaves one unit
    "u07,i03,view,2026-01-02T23:00:00Z,",  # late: of a day that is built
    "u08,i05,purchase,2026-01-04T10:00:00Z,1",
    "u08,i05,cancel,2026-01-04T10:01:00Z,1",  # leaves nothing
    *(f"u09,i{n % 20:02d},view,2026-01-04T{n // 6:02d}:{n % 6}0:00Z," for n in range(31)),  # a bot on this day
    "u20,i02,view,2026-01-04T10:00:00Z,",  # known by a region alone until now
    "new,i04,view,2026-01-05T10:00:00Z,",  # known to nobody
    "u10,i01,hide,2026-01-04T10:00:00Z,",
    "u10,i06,hide,2026-01-04T10:00:00Z,",
    "u10,i06,view,2026-01-05T11:00:00Z,",  # taken back
    "u11,i03,view,2026-01-04T10:00:00Z,",
    "u11,i03,hide,2026-01-04T10:00:01Z,",  # seen, then hidden
    "u12,i17,hide,2026-01-01T23:00:00Z,",  # late
    "u12,i17,hide,2026-01-01T23:00:09Z,",  # again
    "u04,i19,hide,2026-01-04T10:00:00Z,",
    "u20,i19,hide,2026-01-04T10:00:00Z,",
    "shy,i03,hide,2026-01-04T10:00:00Z,",  # known to nobody, and by nothing that counts
    "u06,i04,view,2026-01-09T10:00:00Z,",  # in the future
    "u06,,view,2026-01-04T10:00:00Z,",  # without an item
    "u06,i09,view,not a time,",
]


@pytest.fixture(params=["landing", *CUT_AT_ANY_ROW])
def deliver(market: Any, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deliver]:
    """Brings rows to the lane by a source of each kind."""
    if request.param == "landing":
        numbers = count()
        yield lambda rows: market.delivery(f"{next(numbers):02d}.csv", rows)
        return
    stream = open_stream(request.param, market.lake, tmp_path)
    stream.source.resume({})

    def through(rows: list[str]) -> Delivery:
        stream.send([_event(row) for row in rows])
        delivery = stream.source.poll(len(rows), 10)
        assert delivery is not None
        assert len(delivery.numbers) == len(rows)
        return delivery

    yield through
    stream.source.close()


def _event(row: str) -> dict[str, object]:
    """A row of `Market.land` as a producer writes it."""
    cells = zip(("user_id", "item_id", "event_type", "event_at", "value"), row.split(","), strict=True)
    return {name: cell for name, cell in cells if cell}


def _content(market: Any) -> dict[str, Any]:
    """What the lane wrote, without what says when and from where it came."""
    places = (*BOOKKEEPING, "row_id", "file_hash")
    rows = {name: market.lake.fingerprint(name, exclude=places) for name in ("raw.events", "quarantine.rows")}
    return {**rows, "days": pending_days(market.lake), "lists": market.lists()}


def _watch(market: Any) -> LakeWatch:
    return open_watch(market.settings)


def _process(market: Any, watch: LakeWatch, delivery: Delivery | None) -> BatchReport:
    return open_lane(market.settings, watch, now=lambda: NOW).process(delivery, received_at=NOW, epoch=1)


def test_an_event_changes_the_list_of_its_user_only(market: Any) -> None:
    before = market.lists()
    delivery = market.delivery("a.csv", [f"u07,i{n:02d},purchase,2026-01-04T09:00:00Z,1" for n in (0, 1)])
    report = _process(market, _watch(market), delivery)
    after = market.lists()
    (changed,) = (user for user in after if after[user] != before[user])
    assert report.users == 1
    assert report.as_of == datetime(2026, 1, 5)
    assert changed == pseudonymise("u07", KEY)
    assert not {"i00", "i01"} & market.item_ids("u07")


def test_a_hidden_item_leaves_the_list_of_its_user_and_counts_for_nothing(market: Any) -> None:
    before = market.lists()
    hidden = sorted(market.item_ids("u07"))[:2]
    watch = _watch(market)
    report = _process(market, watch, market.delivery("a.csv", [f"u07,{hidden[0]},hide,2026-01-04T09:00:00Z,"]))
    _process(market, watch, market.delivery("b.csv", [f"u07,{hidden[1]},hide,2026-01-04T09:00:00Z,"]))
    after = market.lists()
    (changed,) = (user for user in after if after[user] != before[user])
    assert (report.users, changed) == (1, pseudonymise("u07", KEY))
    assert not {*hidden} & market.item_ids("u07")
    assert len(market.item_ids("u07")) == 5
    step = watch.states.state([changed])
    assert (step.interactions["weight"] < 0).sum() == 2
    market.build()
    assert not market.lake.frame("FROM marts.interactions WHERE event_day = DATE '2026-01-04'").size
    (kept,) = market.lake.frame("SELECT * FROM features.user_histories WHERE len(hidden_item_ids) > 0").to_dict(
        "records"
    )
    assert (kept["user_id"], list(kept["hidden_item_ids"])) == (changed, hidden)
    assert len(kept["item_ids"]) == 6
    market.publish(_server(watch), report.as_of)
    assert market.lists() == after


def test_delta_equals_full_exactly(market: Any, deliver: Deliver) -> None:
    """Repeats, cancellations, bots, late events and strangers, one event at a time, against a rebuilt warehouse."""
    watch = _watch(market)
    for row in AWKWARD:
        report = _process(market, watch, deliver([row]))
    by_delta = market.lists()
    assert pending_days(market.lake)
    market.build()
    market.publish(_server(watch), report.as_of)
    assert market.lists() == by_delta


def test_one_batch_equals_many_batches(market: Any) -> None:
    for number, row in enumerate(AWKWARD):
        _process(market, _watch(market), market.delivery(f"{number:02d}.csv", [row]))
    one_by_one, events = market.lists(), market.lake.fingerprint("raw.events")
    market.begin_again()
    report = _process(market, _watch(market), market.delivery("all.csv", AWKWARD))
    assert (report.counts.accepted, report.counts.quarantined, report.counts.duplicate) == (50, 3, 0)
    assert (market.lists(), market.lake.fingerprint("raw.events")) == (one_by_one, events)


@pytest.mark.parametrize("deliver", CUT_AT_ANY_ROW, indirect=True)
def test_a_stream_makes_the_same_of_awkward_rows_as_a_file(market: Any, deliver: Deliver) -> None:
    watch = _watch(market)
    for rows in (AWKWARD[30:], AWKWARD[:30], AWKWARD[:5]):  # unordered, and some of them twice
        report = _process(market, watch, deliver(rows))
    by_stream = _content(market)
    assert (report.counts.accepted, report.counts.duplicate) == (0, 5)
    market.begin_again()
    _process(market, _watch(market), market.delivery("all.csv", AWKWARD))
    assert by_stream == _content(market)


@pytest.mark.parametrize("deliver", CUT_AT_ANY_ROW, indirect=True)
@pytest.mark.parametrize("is_file_first", [False, True])
def test_an_event_that_comes_by_stream_and_by_file_is_taken_once(
    market: Any, deliver: Deliver, is_file_first: bool
) -> None:
    watch, ways = _watch(market), [deliver, lambda rows: market.delivery("all.csv", rows)]
    first, second = reversed(ways) if is_file_first else ways
    _process(market, watch, first(AWKWARD[:35]))
    before = market.lists()
    report = _process(market, watch, second(AWKWARD[:35]))
    assert (report.counts.accepted, report.counts.duplicate) == (0, 35)
    assert market.lists() == before


def test_rows_that_break_a_rule_are_kept_with_their_row(market: Any, deliver: Deliver) -> None:
    delivery = deliver(AWKWARD)
    _process(market, _watch(market), delivery)
    rows = market.lake.frame("SELECT rule, source_file, source_row FROM quarantine.rows ORDER BY source_row")
    places = zip(delivery.origins[-3:], delivery.numbers[-3:], strict=True)
    rules = ("future_time", "missing_item_id", "unparsable_time")
    assert rows.to_numpy().tolist() == [[rule, *place] for rule, place in zip(rules, places, strict=True)]


def test_a_file_that_batch_took_first_is_not_taken_twice(market: Any) -> None:
    delivery = market.delivery("a.csv", AWKWARD[:1])
    market.build()
    with pytest.raises(PositionMovedError, match=r"a\.csv"):
        _process(market, _watch(market), delivery)
    assert market.lake.frame("SELECT count(*) AS n FROM raw.events")["n"].tolist() == [121]


def test_the_next_batch_run_finds_nothing_to_add(market: Any, deliver: Deliver) -> None:
    _process(market, _watch(market), deliver(AWKWARD))
    before = market.lake.fingerprint("raw.events")
    market.land("again.csv", AWKWARD)
    market.build()
    assert market.lake.fingerprint("raw.events") == before


def test_a_day_with_nearline_events_waits_for_the_warehouse(market: Any) -> None:
    _process(market, _watch(market), market.delivery("a.csv", AWKWARD[:5]))
    assert pending_days(market.lake) == {date(2026, 1, 2): 1, date(2026, 1, 4): 4}


def test_users_of_another_path_are_renewed(market: Any) -> None:
    watch = _watch(market)
    _process(market, watch, market.delivery("a.csv", AWKWARD[:1]))
    hot = len(watch.states)
    _ingest_by_batch(market, "u07,i11,view,2026-01-04T11:00:00Z,")
    report = _process(market, watch, None)
    assert (hot, report.source, report.users) == (1, "renewal", 1)
    assert "i11" not in market.item_ids("u07")


def test_batch_leaves_a_list_that_is_ahead_and_the_lane_renews_it(market: Any) -> None:
    watch = _watch(market)
    _process(market, watch, market.delivery("a.csv", AWKWARD[:1]))
    ahead = market.lists()
    market.publish()
    assert market.lists() == ahead
    market.wait_until(lambda: bool(watch.refresh()) and not watch.is_behind)
    report = _process(market, watch, None)
    assert (report.users, report.source) == (1, "renewal")
    lanes = market.lake.frame("SELECT lane, count(*) AS n FROM serving.top_k GROUP BY lane ORDER BY lane")
    assert lanes.to_numpy().tolist() == [["batch", 20], ["nearline", 1]]


def test_how_fresh_lists_were_is_kept_for_a_day(market: Any) -> None:
    old = "INSERT INTO ops.list_freshness VALUES ('u', 'home', 'landing', 1, NULL, NULL, TIMESTAMP '2026-01-07 11:00')"
    market.lake.write(lambda connection: connection.execute(old), message="a row of the day before")
    _process(market, _watch(market), market.delivery("a.csv", AWKWARD[:1]))
    rows = market.lake.frame("SELECT source, committed_at FROM ops.list_freshness")
    assert rows.to_numpy().tolist() == [["landing", NOW]]


def test_what_was_forgotten_is_read_back(market: Any) -> None:
    watch, starved = _watch(market), _watch(market)
    starved._budget = 0
    for number, row in enumerate(AWKWARD[:5]):
        _process(market, starved, market.delivery(f"{number:02d}.csv", [row]))
        assert len(starved.states) == 0
        assert starved.states.bytes == 0
    poor = market.lists()
    assert _process(market, watch, market.delivery("again.csv", AWKWARD[:5])).counts.duplicate == 5
    assert market.lists() == poor


def test_a_user_read_back_after_a_build_keeps_the_events_of_days_that_it_built(market: Any) -> None:
    lake = market.lake
    states = UserStates(lake, InteractionRules.load(warehouse_project(market.settings), lake), budget_bytes=10**6)
    states.load(NO_DAYS, user_ids=[pseudonymise("u01", KEY)], snapshot=lake.current_snapshot())
    _ingest_by_batch(market, "u07,i11,view,2026-01-04T11:00:00Z,")
    market.build()
    assert not pending_days(lake)
    pairs = pd.DataFrame({"user_id": [pseudonymise("u07", KEY)], "event_day": [date(2026, 1, 4)]})
    states.load(pairs, snapshot=lake.current_snapshot())
    assert states.events(pairs)["item_id"].tolist() == ["i11"]


def test_users_read_ahead_are_as_if_read_when_needed(market: Any) -> None:
    _process(market, _watch(market), market.delivery("before.csv", AWKWARD[:3]))
    watch = _watch(market)
    assert not watch.warm()  # nothing is loaded yet
    watch.refresh()
    while watch.warm():
        pass
    known = market.lake.frame("SELECT user_id FROM raw.users UNION SELECT user_id FROM raw.events")["user_id"]
    assert set(watch.states._users) == set(known)
    assert watch.states.misses == 0
    _process(market, watch, market.delivery("a.csv", AWKWARD[3:6]))
    assert watch.states.misses == 0
    _process(market, watch, market.delivery("b.csv", AWKWARD[6:]))
    assert watch.states.misses == 2  # strangers, of whom there is nothing to read
    ahead = market.lists()
    unaware = _watch(market)
    unaware.refresh()
    unaware.leave(ahead)
    while unaware.left:
        _process(market, unaware, None)
    assert market.lists() == ahead


def test_no_more_users_are_read_ahead_than_the_budget_holds(market: Any) -> None:
    watch = _watch(market)
    watch._budget = 10_000
    watch.refresh()
    while watch.warm():
        pass
    assert 0 < len(watch.states) < 10
    assert watch.states.bytes <= 10_000
    hot = set(watch.states._users)
    latest = market.lake.frame(
        "SELECT user_id FROM marts.interactions GROUP BY user_id ORDER BY max(event_at) DESC, user_id"
    )["user_id"]
    assert hot == set(latest[: len(hot)])


def test_a_leader_of_an_earlier_term_is_refused(market: Any) -> None:
    lane = open_lane(market.settings, _watch(market), now=lambda: NOW)
    file = market.delivery("a.csv", AWKWARD[:1])
    first = _as_stream(file, before=None, after="1")
    lane.process(first, received_at=NOW, epoch=2)
    with pytest.raises(LeaseLostError, match="term 2"):
        lane.process(_as_stream(file, before="1", after="2"), received_at=NOW, epoch=1)
    with pytest.raises(PositionMovedError, match="the lake is at 1"):
        lane.process(first, received_at=NOW, epoch=2)


def _as_stream(file: Delivery, before: str | None, after: str) -> Delivery:
    count = len(file.numbers)
    moved = {} if before is None else {"": before}
    return Delivery("log", file.cells, ("log",) * count, file.numbers, file.arrived_at, moved, {"": after})


def _server(watch: LakeWatch) -> Any:
    assert watch._loaded is not None
    return watch._loaded.server


def _ingest_by_batch(market: Any, row: str) -> None:
    market.land("batch.csv", [row])
    domain = load_domain(market.settings.domain)
    moment = NOW.replace(tzinfo=UTC)
    ingest_landing(market.lake, market.settings.landing_path, domain, KEY, received_at=moment, settle_seconds=-1e9)
