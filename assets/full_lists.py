"""Lists of some users made in full, from all their raw events or from the batch lane's histories, without any state.

The checks of the nearline lane compare them with what is published.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd

from assets.features import HISTORY_LENGTH
from assets.lake import Lake
from assets.list_blocks import write_list_block
from assets.scratch import scratch_folder
from assets.serving import Server, read_users
from assets.warehouse_sql import EVENT_COLUMNS, InteractionRules
from models.nearline import histories_of_users

_EVENTS = f"SELECT {', '.join(EVENT_COLUMNS)} FROM raw.events WHERE user_id IN (SELECT unnest(?::VARCHAR[]))"
# As in `assets.user_states`: the others have a list only while an interaction of theirs counts.
_SEGMENTS = """
SELECT user_id, segment FROM marts.users SEMI JOIN raw.users USING (user_id)
WHERE user_id IN (SELECT unnest(?::VARCHAR[]))
"""
_PUBLISHED = """
SELECT user_id, items::VARCHAR AS items FROM serving.top_k
WHERE surface = ? AND user_id IN (SELECT unnest(?::VARCHAR[]))
"""


def interactions_in_full(
    lake: Lake, rules: InteractionRules, user_ids: Sequence[str], *, snapshot: int
) -> pd.DataFrame:
    """`INTERACTION_COLUMNS` of users, from all their raw events in a snapshot."""
    return rules.interactions(lake.frame(_EVENTS, [list(user_ids)], snapshot=snapshot))


def segments_of(lake: Lake, user_ids: Sequence[str], *, snapshot: int) -> pd.Series:
    """Segment by user id, of the users who have a list even without interactions."""
    known = lake.frame(_SEGMENTS, [list(user_ids)], snapshot=snapshot)
    values = [value if isinstance(value, str) else None for value in known["segment"]]
    return pd.Series(values, index=known["user_id"].tolist(), dtype=object)


def nearline_lists_in_full(
    lake: Lake,
    server: Server,
    rules: InteractionRules,
    user_ids: Sequence[str],
    *,
    as_of: datetime,
    snapshot: int,
    struck: Collection[str] = (),
) -> dict[str, str]:
    """Lists that the nearline lane must have published, as text by user; users without a list are missing.

    Args:
        lake: The lake.
        server: What the lane makes lists with.
        rules: The warehouse's rules.
        user_ids: Whose lists.
        as_of: Moment that they are for.
        snapshot: Whose raw events they are made from.
        struck: Items that were taken out of the lists after they had been made.
    """
    interactions = interactions_in_full(lake, rules, user_ids, snapshot=snapshot)
    segments = segments_of(lake, user_ids, snapshot=snapshot)
    histories = histories_of_users(interactions, segments, sorted(user_ids), length=HISTORY_LENGTH)
    return lists_as_text(lake, histories, _without(server.lists(histories, as_of=as_of), struck))


def batch_lists_in_full(
    lake: Lake,
    server: Server,
    user_ids: Sequence[str],
    *,
    as_of: datetime,
    snapshot: int,
    struck: Collection[str] = (),
) -> dict[str, str]:
    """Lists that the batch lane must have published from the histories of a snapshot, as text by user.

    Args:
        lake: The lake.
        server: What the lane makes lists with.
        user_ids: Whose lists.
        as_of: Moment that they are for.
        snapshot: Whose histories they are made from.
        struck: Items that were taken out of the lists after they had been made.
    """
    users = read_users(lake, user_ids, snapshot=snapshot)
    return lists_as_text(lake, users, _without(server.lists(users, as_of=as_of), struck))


def published_lists(lake: Lake, surface: str, user_ids: Sequence[str], *, snapshot: int) -> dict[str, str]:
    """Lists of a surface as text by user."""
    found = lake.frame(_PUBLISHED, [surface, list(user_ids)], snapshot=snapshot)
    return dict(zip(found["user_id"], found["items"], strict=True))


def lists_as_text(lake: Lake, users: pd.DataFrame, lists: pd.DataFrame) -> dict[str, str]:
    """Lists in the very form in which the table shows them, by user; every digit of a score is in it.

    Args:
        lake: Lends a folder and an engine.
        users: Frame with `user_id, last_event_at`.
        lists: Lists of these users, as of `models.pipeline.recommend`.
    """
    if not len(users):
        return {}
    with scratch_folder(lake.staging_path) as folder:
        file: Path = folder / "lists.parquet"
        write_list_block(users, lists, file)
        found = lake.frame("SELECT user_id, items::VARCHAR AS items FROM read_parquet(?)", [str(file)])
    return dict(zip(found["user_id"], found["items"], strict=True))


def _without(lists: pd.DataFrame, item_ids: Collection[str]) -> pd.DataFrame:
    return lists[~lists["item_id"].isin(list(item_ids))] if item_ids else lists
