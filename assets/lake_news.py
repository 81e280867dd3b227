"""What others have written to the lake, as the nearline lane asks for it between its batches."""

from datetime import datetime

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
_LEFT = "SELECT user_id FROM serving.top_k WHERE surface = ? AND lane = 'nearline' AND input_snapshot < ?"
_CUT = "SELECT user_id FROM serving.top_k WHERE surface = ? AND lane = 'nearline' AND len(items) < ? ORDER BY user_id"


def users_with_events(lake: Lake, first: int, last: int) -> list[str]:
    """Users whose events came in with the snapshots from one to another."""
    return list(lake.frame(_INSERTED, [first, last])["user_id"])


def end_of_days(lake: Lake, snapshot: int) -> datetime:
    """End of the last day with events, as of a snapshot: the moment that lists are for."""
    moment = lake.frame(_AS_OF, snapshot=snapshot)["as_of"].iloc[0]
    return datetime.min if pd.isna(moment) else pd.Timestamp(moment).to_pydatetime()


def old_lists(lake: Lake, surface: str, snapshot: int) -> list[str]:
    """Users with a list of the nearline lane from before a snapshot, which the batch lane left."""
    return list(lake.frame(_LEFT, [surface, snapshot])["user_id"])


def cut_lists(lake: Lake, surface: str, top_k: int) -> list[str]:
    """Users whose lists this lane left shorter than they should be: struck and not made anew before a worker died.

    Reads all lists of the lane: a second for 100,000.
    """
    return list(lake.frame(_CUT, [surface, top_k])["user_id"])
