"""The raw assets, materialised in process on a tiny landing zone."""

from pathlib import Path

import pytest
from dagster import DagsterInstance, materialize

from assets.domain import Domain
from assets.ingestion import publish_domain, raw_events, raw_items, raw_users
from assets.lake import Lake
from assets.resources import DomainResource, LakeResource, LandingResource

ASSETS = [raw_events, raw_items, raw_users]


@pytest.fixture
def resources(lake: Lake, tmp_path: Path) -> dict[str, object]:
    return {
        "lake": LakeResource(catalogue=lake.catalogue, data_path=str(lake.data_path), lock_path=str(lake.lock_path)),
        "domain": DomainResource(name="shop"),
        "landing": LandingResource(path=str(tmp_path / "landing"), pseudonym_key="k", settle_seconds=-1e9),
    }


def put(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / "landing" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_the_assets_ingest_and_say_what_they_did(lake: Lake, tmp_path: Path, resources: dict[str, object]) -> None:
    put(tmp_path, "events/a.csv", "user_id,item_id,event_type,event_at\nu,i,view,2024-05-01\nu,i,warp,2024-05-01\n")
    put(tmp_path, "items/a.csv", "item_id,title\ni,Kettle\n")
    put(tmp_path, "users/a.csv", "user_id,region\nu,FR\n")

    with DagsterInstance.ephemeral() as instance:
        result = materialize(ASSETS, resources=resources, instance=instance)

    (event,) = result.asset_materializations_for_node("raw_events")
    assert event.metadata["rows_accepted"].value == 1
    assert event.metadata["last_day"].value == "2024-05-01"
    assert "| unknown_event_type | 1 |" in str(event.metadata["quarantined_by_rule"].value)
    assert lake.frame("SELECT weight FROM raw.event_types WHERE event_type = 'purchase'")["weight"].tolist() == [4.0]
    assert lake.frame("SELECT domain, bot_events_per_day FROM raw.domain_rules").to_numpy().tolist() == [["shop", 150]]
    assert len(lake.frame("SELECT * FROM raw.items")) == len(lake.frame("SELECT * FROM raw.users")) == 1


def test_a_rejected_file_fails_the_asset_after_the_rest(
    lake: Lake, tmp_path: Path, resources: dict[str, object]
) -> None:
    put(tmp_path, "users/a.csv", "name\nu\n")
    put(tmp_path, "users/b.csv", "user_id,region\nu,FR\n")

    with DagsterInstance.ephemeral() as instance:
        result = materialize([raw_users], resources=resources, instance=instance, raise_on_error=False)

    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "'user_id' is missing" in str(failure.step_failure_data.user_failure_data.description)
    assert len(lake.frame("SELECT * FROM raw.users")) == 1


def test_an_unchanged_domain_is_not_published_again(lake: Lake) -> None:
    domain = Domain(name="test", event_weights={"view": 1.0, "like": 2.0})

    assert publish_domain(lake, domain)
    snapshot = lake.current_snapshot()
    assert not publish_domain(lake, domain)
    assert lake.current_snapshot() == snapshot
    assert publish_domain(lake, Domain(name="test", event_weights={"view": 1.0}))
    assert lake.frame("SELECT event_type FROM raw.event_types")["event_type"].tolist() == ["view"]
