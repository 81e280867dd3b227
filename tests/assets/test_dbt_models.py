"""The Dagster side of the warehouse: names, arguments, pending days, and one run of both sets."""

from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from assets.dbt_models import OWNERS, WarehouseDbt, WarehouseTranslator, build_dbt_assets
from assets.dbt_project import (
    WarehouseProject,
    build_arguments,
    dbt_command,
    dbt_environment,
    prepare_project,
    require_manifest,
)
from assets.lake import Lake
from assets.partitions import daily_partitions
from assets.pending_days import pending_days, settle_pending_days
from assets.resources import DomainResource, LakeResource
from models.errors import ConfigurationError

_SOURCE = Path(__file__).parents[2] / "dbt"
_DAY_1, _DAY_2, _DAY_3 = (date(2024, 3, day) for day in (1, 2, 3))


def _mark(lake: Lake, rows: dict[date, int]) -> None:
    values = ", ".join(f"(DATE '{day}', {count})" for day, count in rows.items())
    lake.write(lambda c: c.execute(f"INSERT INTO ops.pending_days VALUES {values}"), message="mark")


def test_partitions_are_the_days_of_the_data() -> None:
    assert daily_partitions(_DAY_1, _DAY_3).get_partition_keys() == ["2024-03-01", "2024-03-02", "2024-03-03"]


def test_partitions_without_a_last_day_include_today() -> None:
    from datetime import UTC, datetime

    now = datetime(2024, 3, 3, 0, 1, tzinfo=UTC)

    with dg.instance_for_test():
        keys = daily_partitions(_DAY_1).get_partition_keys(current_time=now)

    assert keys == ["2024-03-01", "2024-03-02", "2024-03-03"]


def test_arguments_carry_the_window() -> None:
    assert build_arguments((_DAY_1, _DAY_3))[-4:] == [
        "--event-time-start",
        "2024-03-01",
        "--event-time-end",
        "2024-03-03",
    ]


def test_arguments_without_a_window_rebuild_whole() -> None:
    assert build_arguments(None) == ["build", "--exclude-resource-type", "unit_test"]


def test_environment_names_the_lake(lake: Lake, tmp_path: Path) -> None:
    environment = dbt_environment(WarehouseProject(_SOURCE, tmp_path), lake)

    assert environment["FRESHET_LAKE_CATALOGUE"] == lake.catalogue
    assert environment["FRESHET_LAKE_DATA_PATH"] == f"{lake.data_path}/"
    assert environment["DBT_SEND_ANONYMOUS_USAGE_STATS"] == "false"


def test_command_ends_with_the_arguments() -> None:
    assert dbt_command(["build"])[-1] == "build"


@pytest.mark.parametrize(
    ("kind", "name", "key"),
    [
        ("model", "interactions", "interactions"),
        ("source", "events", "raw_events"),
        ("source", "items", "raw_items"),
        ("source", "users", "raw_users"),
        ("source", "event_types", "raw_events"),
        ("source", "domain_rules", "raw_events"),
        ("model", "items", "items"),
    ],
)
def test_asset_keys_are_single_names(kind: str, name: str, key: str) -> None:
    assert WarehouseTranslator().get_asset_key({"resource_type": kind, "name": name}) == dg.AssetKey(key)


def test_missing_manifest_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="freshet run"):
        require_manifest(WarehouseProject(_SOURCE, tmp_path))
    with pytest.raises(ConfigurationError, match=r"manifest\.json is missing"):
        build_dbt_assets(tmp_path / "manifest.json", daily_partitions(_DAY_1))


def test_pending_days_of_a_window(lake: Lake) -> None:
    _mark(lake, {_DAY_3: 5, _DAY_1: 2})

    assert pending_days(lake) == {_DAY_1: 2, _DAY_3: 5}
    assert pending_days(lake, (_DAY_1, _DAY_3)) == {_DAY_1: 2}


def test_events_that_came_during_a_build_stay_pending(lake: Lake) -> None:
    _mark(lake, {_DAY_1: 2, _DAY_2: 4})
    built = pending_days(lake)
    lake.write(
        lambda c: c.execute("UPDATE ops.pending_days SET rows_added = 7 WHERE event_day = ?", [_DAY_2]), message="late"
    )

    settle_pending_days(lake, built)

    assert pending_days(lake) == {_DAY_2: 3}


def test_settling_nothing_writes_nothing(lake: Lake) -> None:
    before = lake.current_snapshot()

    settle_pending_days(lake, {})

    assert lake.current_snapshot() == before


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> WarehouseProject:
    return WarehouseProject(_SOURCE, tmp_path_factory.mktemp("dbt"))


def _job(project: WarehouseProject, lake: Lake) -> dg.JobDefinition:
    def raw(name: str) -> dg.AssetsDefinition:
        @dg.asset(name=name)
        def loaded() -> None: ...

        return loaded

    names = ("raw_events", "raw_items", "raw_users")
    models = build_dbt_assets(prepare_project(project, lake), daily_partitions(_DAY_1, _DAY_3))
    definitions = dg.Definitions(
        assets=[*models, *map(raw, names)],
        resources={
            "domain": DomainResource(name="shop"),
            "dbt": WarehouseDbt.of(project),
            "lake": LakeResource(
                catalogue=lake.catalogue, data_path=str(lake.data_path), lock_path=str(lake.lock_path)
            ),
        },
    )
    return definitions.resolve_implicit_global_asset_job_def()


def _add_events(lake: Lake) -> None:
    lake.write(
        lambda c: c.execute(
            "INSERT INTO raw.domain_rules VALUES ('shop', 30, 10, 5, '');"
            "INSERT INTO raw.event_types VALUES ('view', 1);"
            "INSERT INTO raw.events (event_id, user_id, item_id, event_type, event_at, event_day, ingested_at,"
            " source_file, source_row) SELECT 'e' || i, 'ann', 'tea', 'view', TIMESTAMP '2024-03-01' + to_days(i),"
            " DATE '2024-03-01' + i, TIMESTAMP '2024-04-01', 'f', i FROM (SELECT range::INTEGER AS i FROM range(3))"
        ),
        message="events",
    )


def test_assets_have_groups_owners_checks_and_days(project: WarehouseProject, lake: Lake) -> None:
    facts, dimensions = build_dbt_assets(prepare_project(project, lake), daily_partitions(_DAY_1))

    interactions = facts.specs_by_key[dg.AssetKey("interactions")]
    assert interactions.group_name == "warehouse"
    assert interactions.kinds == {"dbt", "duckdb"}
    assert interactions.owners == OWNERS
    assert {key.to_user_string() for key in facts.keys} == {
        "stg_events",
        "int_events_deduplicated",
        "int_events_filtered",
        "int_events_sessionized",
        "interactions",
        "hides",
        "sessions",
        "item_daily_stats",
    }
    assert {key.to_user_string() for key in dimensions.keys} == {"stg_items", "stg_users", "items", "users"}
    assert facts.backfill_policy == dg.BackfillPolicy.single_run()
    assert dimensions.partitions_def is None
    blocking = {spec.name: spec.blocking for spec in [*facts.check_specs, *dimensions.check_specs]}
    assert blocking["unique_interactions_event_id"]
    assert not blocking["items_cover_interactions"]


@pytest.mark.slow
def test_one_run_builds_a_range_of_days_and_the_dimensions(project: WarehouseProject, lake: Lake) -> None:
    _add_events(lake)
    _mark(lake, {_DAY_1: 1, _DAY_2: 1, _DAY_3: 1})
    tags = {"dagster/asset_partition_range_start": "2024-03-01", "dagster/asset_partition_range_end": "2024-03-02"}

    with dg.instance_for_test() as instance:
        result = _job(project, lake).execute_in_process(instance=instance, tags=tags)
        built = instance.get_materialized_partitions(dg.AssetKey("interactions"))

    assert result.success
    assert built == {"2024-03-01", "2024-03-02"}
    assert lake.frame("SELECT event_id FROM marts.interactions ORDER BY 1")["event_id"].tolist() == ["e0", "e1"]
    assert lake.frame("SELECT user_id, count_interactions FROM marts.users").to_numpy().tolist() == [["ann", 2]]
    assert pending_days(lake) == {_DAY_3: 1}
    counts = {
        event.asset_key.to_user_string(): event.materialization.metadata["dagster/row_count"].value
        for event in result.get_asset_materialization_events()
        if event.asset_key and "dagster/row_count" in event.materialization.metadata
    }
    assert counts["interactions"] == 2
    assert not list((project.home / "runs").iterdir())
