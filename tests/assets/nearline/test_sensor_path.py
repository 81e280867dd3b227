"""The run that the sensor starts: the worker's own code until nothing more comes, recorded as the run's work."""

import os
import shutil
import time
from collections.abc import Mapping
from typing import Any

import pytest
from dagster import AssetKey, DagsterInstance

from assets.lease import nearline_lease
from assets.notifier import read_alerts
from assets.pseudonyms import pseudonymise
from models.errors import FreshetError
from orchestration import nearline_worker
from orchestration.mirroring import open_list_reader
from orchestration.nearline_job import nearline_job
from orchestration.nearline_lag import RULE
from orchestration.nearline_lane import utc_now
from orchestration.run_coordination import LEFT

from .market import move_leader

KEY = "freshet-demo-key"
ROWS = [f"u07,i{item:02d},purchase,2026-01-04T09:00:00Z,1" for item in (0, 1)]


def _job(market: Any) -> Any:
    return nearline_job(market.settings.model_copy(update={"nearline_linger_s": 0.0}))


def test_a_run_takes_in_what_has_landed_and_names_what_it_made(market: Any) -> None:
    market.land("a.csv", ROWS)
    with DagsterInstance.ephemeral() as instance:
        result = _job(market).execute_in_process(instance=instance)
        made = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}
        (lists,) = instance.fetch_materializations(AssetKey("top_k"), limit=5).records
    assert result.success
    assert made == {"raw_events", "top_k"}
    assert lists.run_id == result.run_id
    assert not {"i00", "i01"} & market.item_ids("u07")


def _materialised_lists(market: Any) -> Mapping[str, Any]:
    """Metadata of the lists that a run over an event of this moment has made; older lists have expired by now."""
    market.land("a.csv", [f"u07,i01,purchase,{utc_now():%Y-%m-%dT%H:%M:%SZ},1"])
    result = _job(market).execute_in_process()
    assert result.success
    (made,) = (event for event in result.get_asset_materialization_events() if event.asset_key == AssetKey("top_k"))
    return {name: value.value for name, value in made.materialization.metadata.items()}


def test_the_mirror_has_the_lists_of_a_run(market: Any) -> None:
    told = _materialised_lists(market)
    assert (told["mirror"], told["lists_renewed"]) == ("whole", 1)
    with open_list_reader(market.settings) as reader:
        found = reader.read(pseudonymise("u07", KEY))
    assert found is not None
    assert (found.origin, set(found.list.item_ids)) == ("mirror", market.item_ids("u07"))


def test_a_mirror_that_cannot_be_filled_fails_no_run(market: Any) -> None:
    market.settings.mirror_path.mkdir()
    (market.settings.mirror_path / "data.mdb").write_bytes(b"no database" * 1_000)
    told = _materialised_lists(market)
    assert told["mirror"].startswith("behind: ")
    assert "delete the folder" in told["mirror"]
    assert "i01" not in market.item_ids("u07")


def test_a_second_run_finds_nothing_to_do(market: Any) -> None:
    market.land("a.csv", ROWS)
    job = _job(market)
    job.execute_in_process()
    before = market.tables()
    again = job.execute_in_process()
    assert (again.success, again.get_asset_materialization_events()) == (True, [])
    assert market.tables() == before


def test_a_run_beside_a_leader_says_that_it_has_left_all_to_it(market: Any) -> None:
    market.land("a.csv", ROWS)
    lease = nearline_lease(market.lake)
    assert lease.take(time.time()) is not None
    move_leader(lease)
    with DagsterInstance.ephemeral() as instance:
        result = _job(market).execute_in_process(instance=instance)
        tags = instance.get_run_by_id(result.run_id).tags
    assert (result.success, result.get_asset_materialization_events()) == (True, [])
    assert LEFT in tags


def test_a_run_that_cannot_work_fails_instead_of_trying_for_ever(market: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearline_worker, "MOST_FAILURES", 1)
    market.land("a.csv", ROWS)
    shutil.rmtree(market.settings.artifacts_path)
    with pytest.raises(FreshetError):
        _job(market).execute_in_process()


def test_events_that_wait_for_long_are_one_alert_however_many_batches_they_are(market: Any) -> None:
    for number, row in enumerate(ROWS):
        file = market.land(f"{number}.csv", [row])
        os.utime(file, (1_700_000_000, 1_700_000_000))
    _job(market).execute_in_process()
    (entry,) = read_alerts(market.settings.alerts_file)
    (alert,) = entry["alerts"]
    assert (entry["is_delivered"], alert["rule"], alert["severity"]) == (True, RULE, "error")
    assert alert["says"].startswith("landing: the oldest event that waits arrived")
