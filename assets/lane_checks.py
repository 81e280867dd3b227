"""Asset checks that keep the two lanes equal: published lists against full ones, and both lanes on the same events.

Where the nearline lane has never renewed a list there is nothing to compare, and no model is loaded.
"""

from datetime import UTC, datetime

from dagster import AssetCheckResult, asset_check

from assets import delta_check, skew_check
from assets.builds import data_as_of
from assets.dbt_models import WarehouseDbt
from assets.delta_check import References, agreement_result, compare_with_full
from assets.domain import Domain
from assets.lake import Lake
from assets.nearline_watch import LakeWatch
from assets.resources import ArtifactResource, DomainResource, LakeResource
from assets.serving import TOP_K, Server
from assets.skew_check import compare_lanes, skew_result

_IS_USED = """
SELECT EXISTS (FROM ops.list_freshness WHERE surface = $surface)
    OR EXISTS (FROM serving.top_k WHERE surface = $surface AND lane = 'nearline') AS is_used
"""


@asset_check(
    asset=TOP_K,
    name=delta_check.CHECK,
    description="A sample of the published lists, made again in full from the same snapshot, comes out the same.",
)
def lists_equal_those_made_in_full(
    lake: LakeResource, domain: DomainResource, artifacts: ArtifactResource, dbt: WarehouseDbt
) -> AssetCheckResult:
    """The sample is drawn by the snapshot: each run looks at other lists, and each can be repeated."""
    opened, chosen = lake.lake, domain.domain
    if not is_nearline_used(opened, chosen):
        return _nothing(delta_check.CHECK)
    watch, seed = _watch(opened, chosen, artifacts, dbt), opened.current_snapshot()
    # The edge: from here on the time is the moment that lists are for.
    now = datetime.now(UTC).replace(tzinfo=None)
    nearline, batch = watch.refresh(now).server, Server.load(opened, chosen, artifacts)
    references = References(batch, nearline, watch.rules, watch.as_of)
    return agreement_result(compare_with_full(opened, references, seed=seed), seed)


@asset_check(
    asset=TOP_K,
    name=skew_check.CHECK,
    description="The same events make the same interactions, histories and lists in the batch and the nearline lane.",
)
def both_lanes_agree(
    lake: LakeResource, domain: DomainResource, artifacts: ArtifactResource, dbt: WarehouseDbt
) -> AssetCheckResult:
    """The users are drawn by the snapshot."""
    opened, chosen = lake.lake, domain.domain
    if not is_nearline_used(opened, chosen):
        return _nothing(skew_check.CHECK)
    watch, seed = _watch(opened, chosen, artifacts, dbt), opened.current_snapshot()
    server = watch.refresh().server
    return skew_result(compare_lanes(opened, server, watch.rules, as_of=data_as_of(opened), seed=seed), seed)


def is_nearline_used(lake: Lake, domain: Domain) -> bool:
    """Whether the nearline lane has renewed a list of the domain's surface lately, or one of its lists is served."""
    with lake.connect() as connection:
        return bool(connection.execute(_IS_USED, {"surface": domain.surface}).fetchall()[0][0])


def _watch(lake: Lake, domain: Domain, artifacts: ArtifactResource, dbt: WarehouseDbt) -> LakeWatch:
    """What a worker that starts now would hold."""
    return LakeWatch(lake, domain, artifacts, dbt.project, budget_bytes=1)


def _nothing(check: str) -> AssetCheckResult:
    says = "the nearline lane has renewed no list, so there is nothing to compare"
    return AssetCheckResult(check_name=check, passed=True, description=says, metadata={"compared": 0})
