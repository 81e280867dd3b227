import subprocess
import sys
from pathlib import Path

import dagster as dg

from assets.artifacts import ArtifactStore
from assets.check_results import check_result
from assets.checks import build_checks, contract_in_force, encoder_dimension, run_checks
from assets.domain import Domain
from assets.lake import Lake
from assets.resources import ArtifactResource, DomainResource, LakeResource
from quality.boundaries import contracts
from quality.top_k_rules import ListPromise
from quality.validation import RuleOutcome, ValidationOutcome

CONTRACTS = contracts(ListPromise())


def test_each_contract_blocks_on_errors_and_says_what_must_hold() -> None:
    definitions = {definition.op.name: definition for definition in build_checks()}
    assert set(definitions) == {f"{asset}_keeps_its_contract" for asset in CONTRACTS}
    specs = {spec.name: spec for spec in definitions["raw_events_keeps_its_contract"].check_specs}
    assert specs["event_ids_are_unique"].blocking
    assert not specs["quarantine_rate_is_low"].blocking
    assert all(spec.description for spec in specs.values())


def test_a_result_is_readable_and_names_no_source_user() -> None:
    rule = RuleOutcome("event_ids_are_unique", "event_id", "error", "Never repeats.", False, 31, 1_000, ("e1", "e|2"))
    result = check_result(CONTRACTS["raw_events"], "event_ids_are_unique", ValidationOutcome("s", (rule,)))
    assert result.description == "event_id: 31 of 1,000 rows. Never repeats."
    assert "| ✗ | event_id | 31 | 1,000 | error | e1; e\\|2 |" in str(result.metadata["rules"].value)
    assert result.metadata["sample"].value == ["e1", "e|2"]


def test_a_number_that_counts_no_rows_is_told_in_its_unit() -> None:
    late = RuleOutcome(
        "events_are_fresh", "hours", "warning", "Be fresh.", False, 7_086, 103_062, (), "hours", "at most 48"
    )
    result = check_result(CONTRACTS["raw_events"], "events_are_fresh", ValidationOutcome("s", (late,)))
    assert result.description == "7,086 hours, expected at most 48. Be fresh."
    assert "| ✗ | hours | 7,086 hours | at most 48 | warning |" in str(result.metadata["rules"].value)
    assert (result.metadata["unexpected"].value, result.metadata["unit"].value) == (7_086, "hours")


def test_a_chosen_check_runs_alone(lake: Lake) -> None:
    (result,) = run_checks(lake, CONTRACTS["raw_events"], {"event_ids_are_unique"})
    assert (result.check_name, result.passed) == ("event_ids_are_unique", True)


def test_a_source_user_id_in_the_lake_stops_the_lineage(lake: Lake) -> None:
    @dg.asset
    def raw_users() -> None:
        insert = (
            "INSERT INTO raw.users BY NAME SELECT 'ann@example.org' AS user_id, 'h' AS content_hash, "
            "TIMESTAMP '2026-03-04' AS ingested_at, 'u.csv' AS source_file, 1 AS source_row"
        )
        lake.write(lambda connection: connection.execute(insert).fetchall(), message="leak")

    @dg.asset(deps=[raw_users])
    def users() -> None: ...

    (checks,) = (made for made in build_checks() if made.op.name == "raw_users_keeps_its_contract")
    resources = {
        "lake": LakeResource(catalogue=lake.catalogue, data_path=str(lake.data_path), lock_path=str(lake.lock_path)),
        "domain": DomainResource(name="shop"),
        "artifacts": ArtifactResource(path=str(lake.data_path.parent / "artifacts")),
    }
    made = dg.Definitions(assets=[raw_users, users], asset_checks=[checks], resources=resources)
    with dg.DagsterInstance.ephemeral() as instance:
        job = made.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert [event.step_key for event in result.get_asset_materialization_events()] == ["raw_users"]
    failed = {e.check_name: e for e in result.get_asset_check_evaluations() if not e.passed}
    assert set(failed) == {"no_source_user_id_appears", "every_file_is_conserved"}
    assert "ann@example.org" not in str(failed["no_source_user_id_appears"])


def test_the_dimension_of_the_embeddings_is_that_of_the_present_encoder(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_text('{"hidden_size": 384}')
    store = ArtifactStore(tmp_path / "artifacts")
    version = store.put(tmp_path / "encoder", "encoder")
    assert encoder_dimension(store, version) == 384
    build = "INSERT INTO ops.builds VALUES ('finetuned_encoder', 'f', NULL, ?, NULL, TIMESTAMP '2026-03-04', 1.0)"
    lake.write(lambda connection: connection.execute(build, [version]).fetchall(), message="build")
    contract = contract_in_force(lake, Domain("shop", {"view": 1.0}), store, "item_embeddings")
    assert "len(embedding) - 384" in contract.rows
    assert any(f"encoder_version <> '{version}'" in fact.sql for fact in contract.facts)


def test_the_checks_load_without_great_expectations() -> None:
    code = "import sys, assets.checks as c; c.build_checks(); assert 'great_expectations' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
