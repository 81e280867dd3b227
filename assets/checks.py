"""Asset checks at the four boundaries: raw, marts, features and embeddings, top-K.

One op per table audits it once and reports one check per truth. Checks with a rule of severity `error` block what
comes after; warnings only raise an alert.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import replace

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSpec,
    AssetKey,
    multi_asset_check,
)

from assets.artifacts import ArtifactStore
from assets.builds import last_build
from assets.check_results import check_result
from assets.domain import Domain
from assets.encoder_stages import ENCODER_KIND
from assets.lake import Lake
from assets.resources import ArtifactResource, DomainResource, LakeResource
from assets.table_audit import audit_table
from quality.boundaries import contracts
from quality.contracts import Contract
from quality.top_k_rules import ListPromise

EMBEDDINGS_ASSET = "item_embeddings"
ENCODER_ASSET = "finetuned_encoder"
"""Asset whose recorded version all embeddings must come from."""


def build_checks() -> list[AssetChecksDefinition]:
    """The checks of every contract; no suite is built and nothing heavy imported until one runs."""
    return [_checks_of(contract) for contract in contracts(ListPromise()).values()]


def check_specs(contract: Contract) -> list[AssetCheckSpec]:
    """One spec per truth that a contract asserts."""
    return [
        AssetCheckSpec(
            name=check,
            asset=AssetKey(contract.asset),
            description=contract.describe(check),
            blocking=severity == "error",
            metadata={"boundary": contract.boundary, "severity": severity},
        )
        for check, severity in contract.checks.items()
    ]


def contract_in_force(lake: Lake, domain: Domain, artifacts: ArtifactStore, asset: str) -> Contract:
    """The contract of an asset with the numbers of the configured domain and of the present encoder."""
    promise = ListPromise(top_k=domain.top_k, exclude_seen=domain.exclude_seen, surface=domain.surface)
    encoder = last_build(lake, ENCODER_ASSET) if asset == EMBEDDINGS_ASSET else None
    version = encoder.version if encoder else ""
    dimension = encoder_dimension(artifacts, version) if version else None
    return contracts(promise, embedding_dimension=dimension, encoder_version=version)[asset]


def encoder_dimension(artifacts: ArtifactStore, version: str) -> int | None:
    """Length of the vectors of a stored encoder, from its configuration; None where that does not say."""
    text = (artifacts.path(ENCODER_KIND, version) / "config.json").read_text(encoding="utf-8")
    size = json.loads(text).get("hidden_size")
    return None if size is None else int(size)


def run_checks(lake: Lake, contract: Contract, names: Collection[str]) -> list[AssetCheckResult]:
    """Audit a table once and report the named checks; the rules of others cost nothing."""
    asked = replace(
        contract,
        facts=tuple(fact for fact in contract.facts if fact.check in names),
        rules=tuple(rule for rule in contract.rules if rule.check in names),
    )
    outcome = audit_table(lake, asked)
    return [check_result(contract, name, outcome) for name in contract.checks if name in names]


def _checks_of(contract: Contract) -> AssetChecksDefinition:
    asset = contract.asset

    @multi_asset_check(
        name=f"{asset}_keeps_its_contract",
        specs=check_specs(contract),
        can_subset=True,
        description=f"Contract of {contract.table.qualified_name}: {contract.table.grain}.",
    )
    def checks(
        context: AssetCheckExecutionContext, lake: LakeResource, domain: DomainResource, artifacts: ArtifactResource
    ) -> Iterator[AssetCheckResult]:
        names = {key.name for key in context.selected_asset_check_keys}
        in_force = contract_in_force(lake.lake, domain.domain, artifacts.store, asset)
        yield from run_checks(lake.lake, in_force, names)

    return checks
