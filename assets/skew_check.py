"""The skew sentinel: the same events through both lanes, whose interactions, histories and lists must be equal.

The batch lane's side is what dbt has built and what its functions make of it; the nearline lane's is its compiled SQL
over the raw events and its step. Only users all of whose days are built are compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd
from dagster import AssetCheckResult, AssetCheckSeverity, MetadataValue

from assets.check_results import COUNT, NEXT_STEP, SAMPLE, UNIT
from assets.features import HISTORY_LENGTH, histories_of
from assets.full_lists import interactions_in_full, lists_as_text, segments_of
from assets.lake import Lake
from assets.model_inputs import seconds
from assets.serving import Server
from assets.warehouse_sql import HISTORY_ROWS, InteractionRules
from models.nearline import INTERACTION_COLUMNS, RebuiltDays, UserState, advance

CHECK = "both_lanes_agree"
SAMPLED = 100
"""Most users that a check puts through both lanes."""
STAGES = ("interactions", "histories", "lists")

# Those whose lists the nearline lane has renewed first.
_SAMPLE = """
WITH waiting AS (
    SELECT user_id FROM raw.events WHERE event_day IN (SELECT event_day FROM ops.pending_days)
),
users AS (SELECT DISTINCT user_id FROM raw.events WHERE user_id NOT IN (FROM waiting))
SELECT user_id FROM users
ORDER BY user_id IN (SELECT user_id FROM ops.list_freshness) DESC, hash(user_id, ?::BIGINT), user_id LIMIT ?
"""
_MARTS = f"FROM ({HISTORY_ROWS}) WHERE user_id IN (SELECT unnest(?::VARCHAR[]))"
_NEXT_STEP = (
    "both lanes make the same interactions, histories and lists of the same events; the first stage that differs says "
    "where: interactions (the dbt models and what was compiled of them; `freshet run` with the days of the users "
    "builds them anew), histories (models/features.py, models/nearline.py), lists (models/pipeline.py)"
)


@dataclass(frozen=True)
class Skew:
    """Users for whom the lanes differ, by stage."""

    snapshot: int
    compared: int
    differing: dict[str, tuple[str, ...]]
    """Pseudonyms by stage."""

    @property
    def first_stage(self) -> str:
        """The stage at which the lanes part; empty where they agree."""
        return next((stage for stage in STAGES if self.differing[stage]), "")


def compare_lanes(
    lake: Lake, server: Server, rules: InteractionRules, *, as_of: datetime, seed: int, sampled: int = SAMPLED
) -> Skew:
    """Put the events of some users through both lanes.

    Args:
        lake: The lake.
        server: What both make lists with.
        rules: The nearline lane's rules.
        as_of: Moment that the lists are for.
        seed: Chooses the users.
        sampled: Most users.
    """
    snapshot = lake.current_snapshot()
    users = lake.frame(_SAMPLE, [seed, sampled], snapshot=snapshot)["user_id"].tolist()
    if not users:
        return Skew(snapshot, 0, {stage: () for stage in STAGES})
    built = lake.frame(_MARTS, [users], snapshot=snapshot)
    rebuilt = interactions_in_full(lake, rules, users, snapshot=snapshot)
    if built.empty and rebuilt.empty:
        return Skew(snapshot, len(users), {stage: () for stage in STAGES})
    batch = histories_of(lake, users)
    pairs = rebuilt[["user_id", "event_day"]].drop_duplicates(ignore_index=True)
    step = advance(
        server.maker,
        UserState(rebuilt.iloc[:0], segments_of(lake, users, snapshot=snapshot)),
        RebuiltDays(pairs, rebuilt, {}),
        users=users,
        history_length=HISTORY_LENGTH,
        as_of=seconds(as_of),
    )
    # The others are known by their segment alone.
    nearline = step.histories[step.histories["last_event_at"].notna()]
    batch = batch[batch["user_id"].isin(nearline["user_id"]) | (batch["item_ids"].map(len) > 0)]
    sides = {
        "interactions": (rows_by_user(built, INTERACTION_COLUMNS), rows_by_user(rebuilt, INTERACTION_COLUMNS)),
        "histories": (rows_by_user(batch, batch.columns), rows_by_user(nearline, batch.columns)),
        "lists": (
            lists_as_text(lake, batch, server.lists(batch, as_of=as_of)),
            lists_as_text(lake, nearline, step.lists[step.lists["user_id"].isin(nearline["user_id"])]),
        ),
    }
    return Skew(snapshot, len(users), {stage: _differing(*both) for stage, both in sides.items()})


def skew_result(found: Skew, seed: int) -> AssetCheckResult:
    """What the sentinel says in the UI of the sample of a seed."""
    stage = found.first_stage
    users = found.differing[stage] if stage else ()
    table = "\n".join(
        [
            "| stage | users that differ |",
            "|---|---:|",
            *(f"| {name} | {len(found.differing[name])} |" for name in STAGES),
        ]
    )
    return AssetCheckResult(
        check_name=CHECK,
        passed=not stage,
        severity=AssetCheckSeverity.ERROR,
        description=f"the lanes part at the {stage} of {len(users)} of {found.compared} users"
        if stage
        else f"both lanes agree on {found.compared} users",
        metadata={
            "compared": found.compared,
            "seed": seed,
            "snapshot": found.snapshot,
            "stages": MetadataValue.md(table),
            COUNT: len(users),
            UNIT: "users",
            SAMPLE: MetadataValue.json([user[:16] for user in users[:5]]),
            NEXT_STEP: _NEXT_STEP,
        },
    )


def rows_by_user(frame: pd.DataFrame, columns: Sequence[str] | pd.Index) -> dict[str, str]:
    """The rows of each user as text, whatever their order and the types that carry the same values."""
    texts = {name: frame[name].map(_text) for name in columns}
    rows = pd.DataFrame(texts).assign(owner=frame["user_id"])
    lines = rows[list(texts)].agg("|".join, axis=1) if len(rows) else pd.Series([], dtype=object)
    return {str(user): "\n".join(sorted(group)) for user, group in lines.groupby(rows["owner"])}


def _text(value: Any) -> str:
    if isinstance(value, list | np.ndarray):
        return ",".join(map(_text, value))
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):
        return ""
    if isinstance(value, date | np.datetime64):
        return pd.Timestamp(value).isoformat()
    return repr(float(value))


def _differing(batch: dict[str, str], nearline: dict[str, str]) -> tuple[str, ...]:
    return tuple(sorted(user for user in {*batch, *nearline} if batch.get(user) != nearline.get(user)))
