"""What others have written to the lake, as the nearline lane asks for it between its batches."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from assets.lake import Lake

_INSERTED = """
SELECT DISTINCT user_id FROM ducklake_table_insertions('lake', 'raw', 'events', ?::BIGINT, ?::BIGINT)
"""
_AS_OF = """
SELECT greatest(
    (SELECT max(event_day) FROM marts.interactions), (SELECT max(event_day) FROM ops.pending_days)
) + INTERVAL 1 DAY AS as_of
"""
_MOMENTS_OF_LISTS = """
SELECT max(least(generated_at, expires_at - to_microseconds(?::BIGINT))) AS data_until, max(generated_at) AS as_of
FROM serving.top_k WHERE surface = ?
"""
# Versions of an item that newer ones have replaced count too: a boundary of theirs is a step without an effect.
_BOUNDARY = f"""
WITH data AS ({_AS_OF}),
moments AS (
    SELECT date_trunc('second', unnest([available_from, available_until])) AS moment FROM marts.items
    UNION ALL SELECT date_trunc('second', unnest([available_from, available_until])) FROM raw.items
    UNION ALL SELECT date_trunc('second', unnest([valid_from, valid_until])) FROM serving.item_rules
    WHERE coalesce(surface = ?, true)
)
SELECT max(moment) AS passed FROM moments CROSS JOIN data WHERE moment > as_of AND moment <= ? AND as_of > ?
"""
_OLDER = """
SELECT user_id FROM serving.top_k
WHERE user_id IN (SELECT unnest(?::VARCHAR[])) AND CASE WHEN surface = ? THEN generated_at < ? ELSE false END
"""
_LEFT = "SELECT user_id FROM serving.top_k WHERE surface = ? AND lane = 'nearline' AND input_snapshot < ?"
_CUT = "SELECT user_id FROM serving.top_k WHERE surface = ? AND lane = 'nearline' AND len(items) < ? ORDER BY user_id"


def users_with_events(lake: Lake, first: int, last: int) -> list[str]:
    """Users whose events came in with the snapshots from one to another."""
    return list(lake.frame(_INSERTED, [first, last])["user_id"])


def end_of_days(lake: Lake, snapshot: int) -> datetime:
    """End of the last day with events, as of a snapshot: the moment that lists are for."""
    return _moment(lake.frame(_AS_OF, snapshot=snapshot)["as_of"].iloc[0]) or datetime.min


def moments_of_lists(lake: Lake, surface: str, lists_live: timedelta) -> tuple[datetime, datetime]:
    """What the published lists tell: the end of the data that they know, and the latest moment that they are for.

    Args:
        lake: The lake.
        surface: Whose lists.
        lists_live: From the end of the data until lists expire.
    """
    found = lake.frame(_MOMENTS_OF_LISTS, [lists_live // timedelta(microseconds=1), surface]).iloc[0]
    return _moment(found["data_until"]) or datetime.min, _moment(found["as_of"]) or datetime.min


def passed_boundary(lake: Lake, surface: str, lists_live: timedelta, now: datetime) -> datetime | None:
    """The last moment between the end of the data and now at which something began or ended by itself.

    None without one, and where all lists have expired; see `assets.list_moment`.

    Args:
        lake: The lake.
        surface: Whose business rules count.
        lists_live: From the end of the data until lists expire.
        now: The present moment, UTC without a zone.
    """
    return _moment(lake.frame(_BOUNDARY, [surface, now, now - lists_live])["passed"].iloc[0])


def older_lists(lake: Lake, surface: str, user_ids: Sequence[str], moment: datetime) -> list[str]:
    """Those of these users, in their order, whose list is for an earlier moment."""
    found = set(lake.frame(_OLDER, [list(user_ids), surface, moment])["user_id"])
    return [user for user in user_ids if user in found]


def old_lists(lake: Lake, surface: str, snapshot: int) -> list[str]:
    """Users with a list of the nearline lane from before a snapshot, which the batch lane left."""
    return list(lake.frame(_LEFT, [surface, snapshot])["user_id"])


def cut_lists(lake: Lake, surface: str, top_k: int) -> list[str]:
    """Users whose lists this lane left shorter than they should be: struck and not made anew before a worker died.

    Reads all lists of the lane: a second for 100,000.
    """
    return list(lake.frame(_CUT, [surface, top_k])["user_id"])


def _moment(value: Any) -> datetime | None:
    return None if pd.isna(value) else pd.Timestamp(value).to_pydatetime()
