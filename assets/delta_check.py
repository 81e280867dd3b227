"""Delta equals full: a sample of the published lists is made again in full and must come out the same, exactly.

Each lane's lists are made again with the items as that lane knows them: the nearline lane knows some that wait to be
built. Lists that are on their way to be renewed are left out and counted: those of an earlier model or catalogue, those
whose user has got events by another path since, and those that were cut when an item ran out.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pandas as pd
from dagster import AssetCheckResult, AssetCheckSeverity, MetadataValue

from assets.check_results import COUNT, NEXT_STEP, SAMPLE, UNIT
from assets.full_lists import batch_lists_in_full, nearline_lists_in_full, published_lists
from assets.lake import Lake
from assets.list_guard import banned_items
from assets.model_inputs import seconds
from assets.serving import Server
from assets.warehouse_sql import InteractionRules

CHECK = "lists_equal_those_made_in_full"
SAMPLED = 100
"""Most lists of each lane that a check makes again."""

_SAMPLE = """
SELECT user_id, lane, generated_at, input_snapshot, model_version, index_version FROM serving.top_k WHERE surface = ?
QUALIFY row_number() OVER (PARTITION BY lane ORDER BY hash(user_id, ?::BIGINT), user_id) <= ?
"""
_LAST_CHANGE = """
SELECT user_id, max(snapshot_id) AS snapshot FROM ducklake_table_insertions('lake', {table}, ?::BIGINT, ?::BIGINT)
WHERE user_id IN (SELECT unnest(?::VARCHAR[])) GROUP BY user_id
"""
_BUILT = """
SELECT (SELECT sum(hash(i)) FROM marts.items AS i), (SELECT sum(hash(r)) FROM serving.item_rules AS r)
"""
_CATALOGUE = {"batch": _BUILT, "nearline": f"{_BUILT}, (SELECT count(*) FROM raw.items)"}
"""What a lane knows of items and business rules, in numbers that change with it."""
_NEXT_STEP = (
    "every published list is the one that its user's events, the model, the index and the rules make in full; "
    "materialise top_k to publish all lists anew, and report the users below as a defect"
)


@dataclass(frozen=True)
class Agreement:
    """What came of a comparison of lists."""

    snapshot: int
    compared: int
    differing: tuple[str, ...]
    """Pseudonyms of users whose lists differ."""
    left_out: dict[str, int] = field(default_factory=dict)
    """How many lists were not compared, by reason."""


@dataclass(frozen=True)
class References:
    """What lists are made again with."""

    batch: Server
    """As the batch lane loads it."""

    nearline: Server
    """The same with the items that wait to be built, as the nearline lane holds it."""

    rules: InteractionRules
    """The warehouse's rules."""

    as_of: datetime
    """Moment that the nearline lane makes lists for now; items that may not be shown then have left all lists."""


def compare_with_full(lake: Lake, references: References, *, seed: int, sampled: int = SAMPLED) -> Agreement:
    """Make a sample of the published lists again, from the snapshot that each was made from.

    Args:
        lake: The lake.
        references: What lists are made with now.
        seed: Chooses the sample.
        sampled: Most lists of each lane.
    """
    server = references.batch
    snapshot, surface = lake.current_snapshot(), server.domain.surface
    sample = lake.frame(_SAMPLE, [surface, seed, sampled], snapshot=snapshot)
    is_ours = (sample["model_version"] == server.model_version) & (sample["index_version"] == server.index_version)
    is_same = is_ours & _same_catalogue(lake, sample, snapshot)
    waits = is_same & sample["user_id"].isin(
        _overtaken(lake, sample[is_same & (sample["lane"] == "nearline")], snapshot)
    )
    chosen = sample[is_same & ~waits]
    published = published_lists(lake, surface, chosen["user_id"].tolist(), snapshot=snapshot)
    full = _in_full(lake, references, chosen, snapshot)
    differing = {user for user in published if published[user] != full.get(user)}
    unlike = chosen[chosen["user_id"].isin(differing)]
    cut = _cut(lake, references, unlike, published, snapshot)
    left_out = {
        "made by another model or index": int((~is_ours).sum()),
        "made before the catalogue or a business rule changed": int((is_ours & ~is_same).sum()),
        "waiting for the nearline lane": int(waits.sum()),
        "cut when an item ran out, waiting for the nearline lane": len(cut),
    }
    return Agreement(
        snapshot,
        len(chosen) - len(cut),
        tuple(sorted(differing - cut)),
        {why: count for why, count in left_out.items() if count},
    )


def agreement_result(found: Agreement, seed: int) -> AssetCheckResult:
    """What a comparison of the sample of a seed says in the UI."""
    differing = len(found.differing)
    says = (
        f"{differing} of {found.compared} compared lists differ" if differing else f"{found.compared} lists are equal"
    )
    return AssetCheckResult(
        check_name=CHECK,
        passed=not differing,
        severity=AssetCheckSeverity.ERROR,
        description=says,
        metadata={
            "compared": found.compared,
            "seed": seed,
            "snapshot": found.snapshot,
            "left_out": MetadataValue.json(found.left_out),
            COUNT: differing,
            UNIT: "lists",
            SAMPLE: MetadataValue.json([user[:16] for user in found.differing[:5]]),
            NEXT_STEP: _NEXT_STEP,
        },
    )


def _in_full(
    lake: Lake, references: References, lists: pd.DataFrame, snapshot: int, *, struck: Collection[str] = ()
) -> dict[str, str]:
    """Lists made again, each by its lane, as text by user."""
    full: dict[str, str] = {}
    # Nobody of the nearline lane was overtaken, so the present state is the one that their lists were made from.
    lists = lists.assign(source=lists["input_snapshot"].where(lists["lane"] == "batch", snapshot))
    for _, group in lists.groupby(["lane", "generated_at", "source"]):
        first, users = group.iloc[0], group["user_id"].tolist()
        as_of, source = first["generated_at"].to_pydatetime(), int(first["source"])
        if first["lane"] == "nearline":
            full |= nearline_lists_in_full(
                lake, references.nearline, references.rules, users, as_of=as_of, snapshot=source, struck=struck
            )
        else:
            full |= batch_lists_in_full(lake, references.batch, users, as_of=as_of, snapshot=source, struck=struck)
    return full


def _cut(lake: Lake, references: References, lists: pd.DataFrame, published: dict[str, str], snapshot: int) -> set[str]:
    """Users whose list is a full one but for items that ran out since; the nearline lane has yet to renew it."""
    struck = banned_items(references.nearline, seconds(references.as_of))
    lists = lists[lists["lane"] == "nearline"]
    if not struck or lists.empty:
        return set()
    # A list that is cut is one of the nearline lane from then on, whichever had made it.
    sides = [_in_full(lake, references, lists.assign(lane=lane), snapshot, struck=struck) for lane in _CATALOGUE]
    return {user for user in lists["user_id"] if published[user] in [side.get(user) for side in sides]}


def _overtaken(lake: Lake, lists: pd.DataFrame, snapshot: int) -> Sequence[str]:
    """Users who have got events since their list was committed; the nearline lane has yet to renew it."""
    if lists.empty:
        return []
    bounds = [int(lists["input_snapshot"].min()), snapshot, lists["user_id"].tolist()]
    made = lake.frame(_LAST_CHANGE.format(table="'serving', 'top_k'"), bounds).set_index("user_id")["snapshot"]
    events = lake.frame(_LAST_CHANGE.format(table="'raw', 'events'"), bounds).set_index("user_id")["snapshot"]
    both = pd.DataFrame({"made": made, "events": events}).dropna()
    return both.index[both["events"] > both["made"]].tolist()


def _same_catalogue(lake: Lake, sample: pd.DataFrame, snapshot: int) -> "pd.Series[bool]":
    """Whether items and business rules were, when each list was made, what they are now."""
    same = pd.Series(False, index=sample.index)
    for lane, lists in sample.groupby("lane"):
        sql = _CATALOGUE[str(lane)]
        now = _catalogue(lake, sql, snapshot)
        sources = sorted(int(source) for source in lists["input_snapshot"].unique())
        # Where nothing has changed since the oldest list, nothing has since the others.
        if _catalogue(lake, sql, sources[0]) != now:
            sources = [source for source in sources[1:] if _catalogue(lake, sql, source) == now]
        same[lists.index] = lists["input_snapshot"].isin(sources)
    return same


def _catalogue(lake: Lake, sql: str, snapshot: int) -> tuple[Any, ...]:
    with lake.connect(snapshot=snapshot) as connection:
        return tuple(connection.execute(sql).fetchall()[0])
