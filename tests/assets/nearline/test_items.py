"""Items and business rules between two batches: what may not be shown leaves every list, whoever said so."""

from datetime import datetime
from typing import Any

import duckdb
import pytest

from assets.batch_report import BatchReport
from assets.domain import load_domain
from assets.ingest import ingest_landing
from assets.nearline_watch import LakeWatch
from assets.streams.contract import Delivery
from assets.streams.landing import LandingSource
from models.errors import PositionMovedError
from orchestration.nearline_lane import open_lane, open_watch

NOW = datetime(2026, 1, 8, 12)
KEY = "freshet-demo-key"


def _process(market: Any, watch: LakeWatch, delivery: Delivery | None, **options: Any) -> BatchReport:
    return open_lane(market.settings, watch, now=lambda: NOW, **options).process(delivery, received_at=NOW, epoch=1)


def _items(market: Any, *rows: str, name: str = "1.csv") -> Delivery:
    """A landed file of items; of two versions received at one moment that of the later name is true."""
    file = market.settings.landing_path / "items" / name
    file.write_text("\n".join(["item_id,title,available_from,available_until", *rows, ""]))
    source = LandingSource(
        market.lake,
        market.settings.landing_path,
        settle_seconds=-1e9,
        max_bytes=10**7,
        clock=lambda: NOW,
        kind="items",
    )
    source.resume({})
    delivery = source.poll(1_000, 0)
    assert delivery is not None
    return delivery


def _renew(market: Any, watch: LakeWatch) -> None:
    """What the worker does while no events come."""
    watch.refresh()
    while watch.left:
        _process(market, watch, None)


def _holding(market: Any, item: str) -> int:
    sql = "SELECT count(*) AS n FROM serving.top_k_items WHERE item_id = ?"
    return int(market.lake.frame(sql, [item])["n"].iloc[0])


def _short(market: Any) -> int:
    return int(market.lake.frame("SELECT count(*) AS n FROM serving.top_k WHERE len(items) < 5")["n"].iloc[0])


def _rule(market: Any, action: str, field: str, match: str) -> None:
    def work(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("DELETE FROM serving.item_rules")
        values = ["r", action, field, match, 1.0]
        connection.execute("INSERT INTO serving.item_rules VALUES (?, ?, ?, ?, ?, NULL, NULL, NULL)", values)

    market.lake.write(work, message="rule")


def test_a_withdrawn_item_leaves_every_list_and_they_are_filled_again(market: Any) -> None:
    watch = open_watch(market.settings)
    before = market.lists()
    count, other = _holding(market, "i02"), _holding(market, "i03")
    report = _process(market, watch, _items(market, "i02,Two,,2026-01-03"))
    assert count > 0
    assert (report.counts.accepted, report.users) == (1, count)
    assert (_holding(market, "i02"), _short(market), watch.left) == (0, 0, 0)
    assert sum(before[user] != items for user, items in market.lists().items()) == count
    assert _holding(market, "i03") >= other
    assert market.lake.frame("SELECT item_id FROM raw.items")["item_id"].tolist() == ["i02"]


def test_a_withdrawn_item_is_gone_before_any_list_is_made_anew(market: Any) -> None:
    holding = list[tuple[int, bool]]()

    def look(reached: str) -> None:
        if reached == "committed":
            holding.append((_holding(market, "i02"), _short(market) > 0))

    delivery = _items(market, "i02,Two,,2026-01-03")
    count = _holding(market, "i02")
    _process(market, open_watch(market.settings), delivery, on_stage=look)
    assert holding == [(count, False), (0, True), (0, False)]


def test_an_item_that_is_back_may_be_recommended_again(market: Any) -> None:
    watch = open_watch(market.settings)
    _process(market, watch, _items(market, "i02,Two,,2026-01-03"))
    _process(market, watch, _items(market, "i02,Two again,,", name="2.csv"))
    assert not watch.banned
    rows = [f"u{user:02d},i19,view,2026-01-04T10:00:00Z," for user in range(20)]
    _process(market, watch, market.delivery("all.csv", rows))
    assert _holding(market, "i02") > 0


@pytest.mark.parametrize("stage", ["staged", "advanced", "committed"])
def test_a_worker_killed_with_a_withdrawal_leaves_it_to_the_next(market: Any, stage: str) -> None:
    def die(reached: str) -> None:
        if reached == stage:
            raise KeyboardInterrupt

    delivery = _items(market, "i02,Two,,2026-01-03")
    with pytest.raises(KeyboardInterrupt):
        _process(market, open_watch(market.settings), delivery, on_stage=die)
    watch = open_watch(market.settings)
    try:
        _process(market, watch, delivery)
    except PositionMovedError:
        _renew(market, watch)
    assert (_holding(market, "i02"), _short(market)) == (0, 0)
    assert market.lake.frame("SELECT count(*) AS n FROM raw.items")["n"].tolist() == [1]


def test_lists_that_were_cut_before_a_kill_are_made_anew(market: Any) -> None:
    def die(reached: str) -> None:
        nonlocal commits
        commits += reached == "committed"
        if commits == 2:
            raise KeyboardInterrupt

    commits = 0
    with pytest.raises(KeyboardInterrupt):
        _process(market, open_watch(market.settings), _items(market, "i02,Two,,2026-01-03"), on_stage=die)
    assert (_holding(market, "i02"), _short(market) > 0) == (0, True)
    _renew(market, open_watch(market.settings))
    assert _short(market) == 0


def test_items_that_the_batch_lane_took_in_count_too(market: Any) -> None:
    watch = open_watch(market.settings)
    watch.refresh()
    _items(market, "i02,Two,,2026-01-03")
    domain = load_domain(market.settings.domain)
    ingest_landing(
        market.lake, market.settings.landing_path, domain, KEY, received_at=NOW, settle_seconds=-1e9, kinds=("items",)
    )
    _process(market, watch, None)
    _process(market, watch, None)
    assert (_holding(market, "i02"), _short(market)) == (0, 0)


def test_a_block_rule_empties_the_lists_of_a_brand_and_nothing_is_loaded_anew(market: Any) -> None:
    watch = open_watch(market.settings)
    loaded = watch.refresh()
    _rule(market, "block", "brand_or_author", "b2")
    _process(market, watch, None)
    _process(market, watch, None)
    assert [_holding(market, item) for item in ("i02", "i07", "i12", "i17")] == [0, 0, 0, 0]
    assert watch.refresh().server.recommender is loaded.server.recommender
    assert watch.left == 0


def test_a_publication_that_did_not_know_of_the_withdrawal_is_put_right(market: Any) -> None:
    watch = open_watch(market.settings)
    _process(market, watch, _items(market, "i02,Two,,2026-01-03"))
    market.publish()
    assert _holding(market, "i02") > 0
    _renew(market, watch)
    assert (_holding(market, "i02"), _short(market)) == (0, 0)
    watch.close()  # it loads what was published


def test_what_a_user_has_just_bought_leaves_the_own_list_alone(market: Any) -> None:
    watch = open_watch(market.settings)
    (bought, *_) = sorted(market.item_ids("u07"))
    others = _holding(market, bought) - 1
    _process(market, watch, market.delivery("a.csv", [f"u07,{bought},purchase,2026-01-04T09:00:00Z,1"]))
    assert bought not in market.item_ids("u07")
    assert _holding(market, bought) == others
