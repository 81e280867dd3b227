from pathlib import Path

import dagster as dg
import pytest
import yaml

from orchestration.event_storage import event_log_config

_PARTITIONS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-13")
_KEYS = [f"2024-01-{day:02}" for day in range(1, 13)]


@dg.multi_asset(
    specs=[dg.AssetSpec("interactions"), dg.AssetSpec("sessions")],
    partitions_def=_PARTITIONS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def _facts() -> tuple[None, None]:
    return None, None


def _seen(instance: dg.DagsterInstance) -> tuple[list[str], int, int]:
    """Built days, and events of one asset over all runs and in its run."""
    key = dg.AssetKey("interactions")
    (run,) = instance.get_runs()
    records = instance.fetch_materializations(key, limit=100).records
    logged = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    assert instance.get_latest_materialization_event(key) is not None
    assert sorted(str(record.partition_key) for record in records) == _KEYS
    return sorted(instance.get_materialized_partitions(key)), len(records), len(logged)


@pytest.mark.parametrize("is_batched", [False, True])
def test_batches_record_what_single_events_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_batched: bool
) -> None:
    config: dict[str, object] = {"telemetry": {"enabled": False}}
    if is_batched:
        monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "5")
        config["event_log_storage"] = event_log_config(str(tmp_path / "history"))
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
    tags = {"dagster/asset_partition_range_start": _KEYS[0], "dagster/asset_partition_range_end": _KEYS[-1]}

    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        job = dg.Definitions(assets=[_facts]).resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(instance=instance, tags=tags).success

        assert type(instance.event_log_storage).__name__ == (
            "BatchedEventLogStorage" if is_batched else "SqliteEventLogStorage"
        )
        assert _seen(instance) == (_KEYS, 12, 24)
