"""The checks that keep the lanes equal: they pass on what both lanes made, and each planted difference fails them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest
from dagster import AssetCheckResult

from assets.dbt_models import WarehouseDbt
from assets.delta_check import Agreement, References, compare_with_full
from assets.domain import load_domain
from assets.ingest import ingest_landing
from assets.lane_checks import both_lanes_agree, lists_equal_those_made_in_full
from assets.model_inputs import seconds
from assets.nearline import NearlineLane
from assets.pseudonyms import pseudonymise
from assets.resources import ArtifactResource, DomainResource, LakeResource
from assets.serving import Server
from assets.skew_check import Skew, compare_lanes, rows_by_user, skew_result
from assets.warehouse_sql import INTERACTIONS, InteractionRules, compiled_interactions
from models import nearline
from orchestration.home import warehouse_project
from orchestration.nearline_lane import open_lane, open_watch

NOW = datetime(2026, 1, 8, 12)
AS_OF = datetime(2026, 1, 6)
KEY = "freshet-demo-key"
REVERSED = "UPDATE serving.top_k SET items = list_reverse(items) WHERE user_id = ?"
EVENTS = [
    "u07,i00,purchase,2026-01-04T09:00:00Z,2",
    "u07,i01,view,2026-01-04T09:00:00Z,",
    "u07,i01,view,2026-01-04T09:00:03Z,",  # repeats the one before
    "u08,i05,purchase,2026-01-04T10:00:00Z,1",
    "u08,i05,cancel,2026-01-04T10:01:00Z,1",  # leaves nothing
    "u20,i02,view,2026-01-04T10:00:00Z,",  # known by a region alone until now
    "new,i04,view,2026-01-05T10:00:00Z,",  # known to nobody
    "u07,i03,hide,2026-01-04T09:10:00Z,",
    "u20,i19,hide,2026-01-04T11:00:00Z,",
]


def _take_in(market: Any) -> NearlineLane:
    lane = open_lane(market.settings, open_watch(market.settings), now=lambda: NOW)
    lane.process(market.delivery("events.csv", EVENTS), received_at=NOW, epoch=1)
    return lane


def _server(market: Any) -> Server:
    artifacts = ArtifactResource(path=str(market.settings.artifacts_path))
    return Server.load(market.lake, load_domain(market.settings.domain), artifacts)


def _rules(market: Any) -> InteractionRules:
    return InteractionRules.load(warehouse_project(market.settings), market.lake)


def _references(market: Any) -> References:
    watch = open_watch(market.settings)
    nearline = watch.refresh().server
    return References(_server(market), nearline, watch.rules, watch.as_of)


def _delta(market: Any) -> Agreement:
    return compare_with_full(market.lake, _references(market), seed=3)


def _skew(market: Any, rules: InteractionRules | None = None) -> Skew:
    return compare_lanes(market.lake, _server(market), rules or _rules(market), as_of=AS_OF, seed=3)


def _check(check: Callable[..., AssetCheckResult], market: Any) -> AssetCheckResult:
    settings = market.settings
    return check(
        lake=LakeResource(
            catalogue=settings.lake_catalogue,
            data_path=str(settings.lake_data_path),
            lock_path=str(settings.lock_path),
        ),
        domain=DomainResource(name=settings.domain),
        artifacts=ArtifactResource(path=str(settings.artifacts_path)),
        dbt=WarehouseDbt.of(warehouse_project(settings)),
    )


def _execute(market: Any, sql: str, user: str) -> None:
    work = lambda connection: connection.execute(sql, [pseudonymise(user, KEY)])  # noqa: E731
    market.lake.write(work, message="by hand")


def test_lists_of_both_lanes_equal_those_made_in_full(market: Any) -> None:
    _take_in(market)
    found = _delta(market)
    assert (found.compared, found.differing, found.left_out) == (22, (), {})
    assert _check(lists_equal_those_made_in_full, market).passed


@pytest.mark.parametrize("user", ["u07", "u03"])
def test_a_list_that_was_changed_by_hand_fails(market: Any, user: str) -> None:
    """User u07 has a list of the nearline lane, u03 one of the batch lane."""
    _take_in(market)
    _execute(market, REVERSED, user)
    assert _delta(market).differing == (pseudonymise(user, KEY),)
    result = _check(lists_equal_those_made_in_full, market)
    assert not result.passed
    assert result.metadata["sample"].value == [pseudonymise(user, KEY)[:16]]


def test_lists_on_their_way_to_be_renewed_are_left_out(market: Any) -> None:
    _take_in(market)
    market.land("batch.csv", ["u07,i11,view,2026-01-04T11:00:00Z,"])
    moment = NOW.replace(tzinfo=UTC)
    domain = load_domain(market.settings.domain)
    ingest_landing(market.lake, market.settings.landing_path, domain, KEY, received_at=moment, settle_seconds=-1e9)
    _execute(market, "UPDATE serving.top_k SET model_version = 'old' WHERE user_id = ?", "u03")
    found = _delta(market)
    assert (found.compared, found.differing) == (20, ())
    assert found.left_out == {"made by another model or index": 1, "waiting for the nearline lane": 1}


def test_lists_from_before_a_business_rule_are_left_out(market: Any) -> None:
    _take_in(market)
    rule = "INSERT INTO serving.item_rules (rule_id, action, field, match) VALUES ('r', 'block', 'item_id', 'i01')"
    market.lake.write(lambda connection: connection.execute(rule), message="a rule")
    found = _delta(market)
    assert found.compared == 0
    assert found.left_out == {"made before the catalogue or a business rule changed": 22}


def test_lists_are_equal_while_a_new_item_waits_to_be_built(text_market: Any) -> None:
    """The batch lane publishes without the item, the nearline lane knows it and gives it a reserved place."""
    file = text_market.settings.landing_path / "items" / "new.csv"
    file.write_text("item_id,title\ni99,red lipstick for nails\n")
    domain = load_domain(text_market.settings.domain)
    ingest_landing(
        text_market.lake, text_market.settings.landing_path, domain, KEY, received_at=NOW, settle_seconds=-1e9
    )
    _take_in(text_market)
    text_market.publish()
    assert "i99" in text_market.item_ids("u07")
    assert "i99" not in text_market.item_ids("u03")
    found = _delta(text_market)
    assert (found.compared, found.differing, found.left_out) == (22, (), {})
    references = _references(text_market)
    nearline_alone = replace(references, batch=references.nearline)
    assert compare_with_full(text_market.lake, nearline_alone, seed=3).differing
    for user in ("u03", "u07"):
        _execute(text_market, REVERSED, user)
    assert set(_delta(text_market).differing) == {pseudonymise("u03", KEY), pseudonymise("u07", KEY)}


def test_lists_are_equal_after_the_index_was_built_anew(text_market: Any) -> None:
    """Half of the items get a text again while the lane is at work, which wears its index and that of the check."""
    lane = open_lane(text_market.settings, open_watch(text_market.settings), now=lambda: NOW)
    lane.process(None, received_at=NOW, epoch=1)
    file = text_market.settings.landing_path / "items" / "again.csv"
    file.write_text("\n".join(["item_id,title", *(f"i{number:02d},blue shampoo for hair" for number in range(10)), ""]))
    domain = load_domain(text_market.settings.domain)
    ingest_landing(
        text_market.lake, text_market.settings.landing_path, domain, KEY, received_at=NOW, settle_seconds=-1e9
    )
    lane.process(text_market.delivery("events.csv", EVENTS), received_at=NOW, epoch=1)
    found = _delta(text_market)
    assert (found.compared, found.differing, found.left_out) == (22, (), {})


def test_lists_that_were_cut_when_an_item_ran_out_are_left_out(market: Any) -> None:
    """Between the commit that strikes the item and the one that makes the lists anew."""
    until = "UPDATE marts.items SET available_until = TIMESTAMP '2026-01-05' WHERE item_id = 'i02'"
    market.lake.write(lambda connection: connection.execute(until), message="the item runs out")
    market.publish()
    lane = _take_in(market)
    lane.process(None, received_at=NOW, epoch=1)
    cut = market.lake.frame("SELECT user_id FROM serving.top_k WHERE len(items) = 4")["user_id"].tolist()
    found = _delta(market)
    assert cut
    assert (found.compared, found.differing) == (22 - len(cut), ())
    assert found.left_out == {"cut when an item ran out, waiting for the nearline lane": len(cut)}
    market.lake.write(lambda connection: connection.execute(REVERSED, cut[:1]), message="by hand")
    assert _delta(market).differing == (cut[0],)
    market.publish(as_of=AS_OF)
    market.wait_until(lambda: bool(lane._watch.refresh()) and not lane._watch.is_behind)
    lane.process(None, received_at=NOW, epoch=1)
    assert (_delta(market).differing, _delta(market).left_out) == ((), {})


def test_without_the_nearline_lane_nothing_is_compared(market: Any) -> None:
    for check in (lists_equal_those_made_in_full, both_lanes_agree):
        result = _check(check, market)
        assert (result.passed, result.metadata["compared"].value) == (True, 0)


def test_both_lanes_agree_once_the_days_are_built(market: Any) -> None:
    _take_in(market)
    waiting = _skew(market)
    market.build()
    found = _skew(market)
    assert (waiting.compared, found.compared, found.first_stage) == (18, 22, "")
    assert _check(both_lanes_agree, market).passed


@pytest.mark.parametrize("stage", ["interactions", "histories", "lists"])
def test_a_transform_that_is_changed_in_one_lane_fails(
    market: Any, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    _take_in(market)
    market.build()
    rules = _rules(market)
    if stage == "interactions":
        rules = _heavier_views(market)
    elif stage == "histories":
        whole = nearline.user_histories
        monkeypatch.setattr(nearline, "user_histories", lambda rows, segments, length: whole(rows, segments, length=1))
    else:
        monkeypatch.setattr(Server, "lists", _without_the_first_place)
    found = _skew(market, rules)
    assert found.first_stage == stage
    result = skew_result(found, 3)
    assert not result.passed
    assert stage in str(result.description)


def test_rows_are_compared_by_value() -> None:
    moment = pd.Timestamp("2026-01-04")
    frame = pd.DataFrame({"user_id": ["b", "a", "a"], "n": pd.array([None, 2, 1], "Int64"), "at": [moment] * 3})
    other = frame.iloc[::-1].astype({"n": float, "at": "datetime64[us]"})
    assert rows_by_user(frame, frame.columns) == rows_by_user(other, frame.columns)
    assert rows_by_user(frame, ["n"]) == {"a": "1.0\n2.0", "b": ""}
    assert rows_by_user(frame, ["n"]) != rows_by_user(frame.assign(n=[1, 2, 3]), ["n"])


def _heavier_views(market: Any) -> InteractionRules:
    """The nearline lane with one changed model: views weigh ten times as much."""
    models = list(compiled_interactions(warehouse_project(market.settings), market.lake))
    (place,) = (number for number, model in enumerate(models) if model.name == INTERACTIONS)
    heavier = "SELECT * REPLACE (CASE WHEN weight = 1 THEN 10 ELSE weight END AS weight)"
    models[place] = replace(models[place], sql=f"{heavier} FROM ({models[place].sql})")
    types, rules = (market.lake.frame(f"FROM raw.{name}") for name in ("event_types", "domain_rules"))
    return InteractionRules(models, types, rules)


def _without_the_first_place(server: Server, histories: pd.DataFrame, *, as_of: datetime) -> pd.DataFrame:
    lists = server.maker.lists(histories, as_of=seconds(as_of))
    return lists[lists["rank"] > 1]
