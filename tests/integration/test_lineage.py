"""The whole lineage on a small market: built once, then again with nothing new, then with one day more.

The tests share one home folder and run in this order.
"""

from typing import Any

import pytest

from assets.builds import last_build
from assets.sources.demo.config import DemoConfig
from assets.sources.demo.generate import generate
from orchestration.refresh import refresh

pytestmark = pytest.mark.slow

DAYS = 8


def test_every_group_is_built_without_an_error(built_home: Any) -> None:
    assert built_home.first.is_ok, [step for step in built_home.first.steps if step.status == "failed"]
    assert {step.group for step in built_home.first.steps if step.status == "built"} == {
        "ingestion",
        "warehouse",
        "features",
        "language_model",
        "recommender",
        "evaluation",
        "index",
        "serving",
    }


def test_quarantine_holds_exactly_what_was_planted(built_home: Any) -> None:
    rows = built_home.lake.frame("SELECT rule, count(*) AS n FROM quarantine.rows GROUP BY rule")
    planted = {rule: count for rule, count in built_home.market.broken.items() if count}
    assert dict(zip(rows["rule"], rows["n"], strict=True)) == planted


def test_rows_in_equal_rows_accepted_quarantined_and_repeated(built_home: Any) -> None:
    files = built_home.lake.frame("FROM ops.files")
    assert (files["rows_in"] == files["rows_accepted"] + files["rows_quarantined"] + files["rows_duplicate"]).all()
    events = files[files["kind"] == "events"]
    assert events["rows_accepted"].sum() == built_home.market.good_events
    assert events["rows_duplicate"].sum() == built_home.market.duplicates


def test_every_user_has_a_full_list_of_distinct_unseen_items(built_home: Any) -> None:
    lists = built_home.lake.frame(
        "SELECT u.user_id, count(DISTINCT t.item_id) AS items, count(i.item_id) AS seen "
        "FROM marts.users AS u LEFT JOIN serving.top_k_items AS t USING (user_id) "
        "LEFT JOIN (SELECT DISTINCT user_id, item_id FROM marts.interactions) AS i USING (user_id, item_id) "
        "GROUP BY u.user_id"
    )
    assert len(lists) > 100
    assert (lists["items"] == 10).all()
    assert (lists["seen"] == 0).all()


def test_no_source_user_id_is_in_the_lake(built_home: Any) -> None:
    users_file = next((built_home.settings.landing_path / "users").glob("*.csv"))
    source_ids = {line.split(b",")[0] for line in users_file.read_bytes().splitlines()[1:50]}
    for file in built_home.settings.lake_data_path.rglob("*.parquet"):
        content = file.read_bytes()
        assert not any(user in content for user in source_ids), file


def test_a_second_refresh_skips_everything(built_home: Any) -> None:
    before = built_home.lake.fingerprint("serving.top_k")
    report = refresh(built_home.settings)
    assert report.is_ok
    assert [step.group for step in report.steps if step.status == "built" and step.group != "ingestion"] == []
    assert built_home.lake.fingerprint("serving.top_k") == before


def test_building_a_day_twice_gives_equal_tables(built_home: Any) -> None:
    lake, day = built_home.lake, DemoConfig().first_day
    tables = ("marts.interactions", "marts.sessions", "marts.item_daily_stats", "intermediate.int_events_sessionized")
    before = {table: lake.frame(f"FROM {table} WHERE event_day = ?", [day]).to_csv() for table in tables}
    others = {table: lake.fingerprint(table, where=f"event_day <> DATE '{day}'") for table in tables}
    report = refresh(built_home.settings, groups=["warehouse"], days=(day, day.replace(day=2)))
    assert report.is_ok
    assert {table: lake.frame(f"FROM {table} WHERE event_day = ?", [day]).to_csv() for table in tables} == before
    assert {table: lake.fingerprint(table, where=f"event_day <> DATE '{day}'") for table in tables} == others


def test_one_more_day_renews_lists_without_training(built_home: Any) -> None:
    trained = last_build(built_home.lake, "challenger_recommender")
    generate(built_home.settings.landing_path, DemoConfig(users=120, items=100, days=DAYS + 1, days_from=DAYS))
    report = refresh(built_home.settings)
    assert report.is_ok
    built = {step.asset for step in report.steps if step.status == "built"}
    assert {"interactions", "user_histories", "top_k"} <= built
    assert not built & {"pretrained_encoder", "finetuned_encoder", "challenger_recommender"}
    assert last_build(built_home.lake, "challenger_recommender") == trained
    assert report.as_of != built_home.first.as_of
