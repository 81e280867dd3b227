"""Reads lists and histories with their titles, as people look at them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import duckdb
import pandas as pd

from models.errors import DataError, LakeError, UnknownUserError

if TYPE_CHECKING:
    from assets.domain import Domain
    from assets.lake import Lake
    from assets.list_reader import ListReader
    from assets.mirrors.contract import ServedList

_LIST = """
WITH entries AS (
    SELECT * EXCLUDE (items), unnest(if(len(items) = 0, [NULL], items)) AS entry,
        unnest(range(1, greatest(len(items), 1) + 1)) AS rank
    FROM serving.top_k WHERE surface = ? AND list_contains(?, user_id)
)
SELECT
    user_id, model_version, index_version, input_snapshot, lane, generated_at, expires_at, last_event_at,
    rank, entry.item_id AS item_id, i.title, entry.score AS score, entry.source AS source, entry.reason AS reason
FROM entries LEFT JOIN marts.items AS i ON i.item_id = entry.item_id
ORDER BY rank
"""
"""Of an empty list comes one row without an item: the user is known, there is nothing to show."""

_SEGMENT = """
SELECT row_number() OVER (ORDER BY p.score DESC, p.item_id) AS rank, p.item_id, i.title, p.score,
    'popularity' AS source, 'popular in this segment' AS reason
FROM features.item_popularity AS p JOIN marts.items AS i USING (item_id)
WHERE p.segment = $segment
    AND coalesce(i.available_from <= $as_of, true) AND coalesce(i.available_until > $as_of, true)
ORDER BY rank LIMIT $top_k
"""

_HISTORY = """
SELECT i.title, h.item_id
FROM (
    SELECT item_id, max(position) AS position
    FROM (
        SELECT unnest(item_ids) AS item_id, unnest(range(1, len(item_ids) + 1)) AS position
        FROM features.user_histories WHERE user_id = ?
    ) GROUP BY item_id
) AS h LEFT JOIN marts.items AS i USING (item_id)
ORDER BY h.position DESC LIMIT ?
"""

# The latest user at each of three lengths of history: long, middling and short.
_EXAMPLES = """
SELECT user_id FROM (
    SELECT user_id, ntile(3) OVER (ORDER BY len(item_ids) DESC, user_id) AS part, last_event_at, len(item_ids) AS n
    FROM features.user_histories JOIN (SELECT DISTINCT user_id FROM serving.top_k WHERE surface = ?) USING (user_id)
    WHERE len(list_distinct(item_ids)) >= 2
)
QUALIFY row_number() OVER (PARTITION BY part ORDER BY last_event_at DESC, user_id) = 1
ORDER BY part
"""


@dataclass(frozen=True)
class ShownList:
    """A list as it is shown."""

    user_id: str
    """Pseudonym; empty for the list of a segment."""

    segment: str | None
    """Segment whose popular items these are; None for a user's own list."""

    model_version: str
    index_version: str
    input_snapshot: int | None
    lane: str
    generated_at: datetime
    expires_at: datetime | None
    last_event_at: datetime | None
    items: tuple[dict[str, Any], ...]
    """`rank, item_id, title, score, source, reason`, best first."""
    read_from: Literal["mirror", "lake"] = "lake"


def read_list(
    lake: "Lake",
    domain: "Domain",
    user: str,
    key: str,
    *,
    segment: str | None = None,
    snapshot: int | None = None,
    reader: "ListReader | None" = None,
) -> ShownList:
    """The list of a user, or of a segment where the user has none.

    Args:
        lake: The lake.
        domain: Which surface, and how long a list is.
        user: Id of the source, or pseudonym; empty for the segment's list.
        key: Key of the pseudonyms.
        segment: Whose popular items stand in for a user without a list; empty for everyone's.
        snapshot: Read the lake as it was then.
        reader: Asked first where no snapshot is wanted, as services ask: it knows whether the mirror is fresh.

    Raises:
        UnknownUserError: the user has no list, and no segment was given.
        LakeError: the snapshot does not exist, or has no lists.
    """
    from assets.pseudonyms import pseudonymise

    known = [user, pseudonymise(user, key)] if user else []
    found = next(filter(None, map(reader.read_mirror, known)), None) if reader and snapshot is None else None
    if found is not None:
        return _mirrored_list(lake, found)
    rows = _frame(lake, _LIST, [domain.surface, known], snapshot) if user else pd.DataFrame()
    if not rows.empty:
        return _user_list(rows)
    if segment is None:
        raise UnknownUserError(
            f"no list for user {user!r} on surface {domain.surface!r}: neither as an id of the source nor as a "
            "pseudonym; add `--segment SEGMENT` for what is popular in a segment (`--segment ''` for everyone), or "
            "see `freshet status` whether the lists are fresh"
        )
    return _segment_list(lake, domain, segment, snapshot)


def read_history(lake: "Lake", user_id: str, last: int) -> list[str]:
    """Titles, or ids where there is none, of the last distinct items of a user's history, latest first."""
    rows = lake.frame(_HISTORY, [user_id, last])
    return [str(title) for title in rows["title"].fillna(rows["item_id"])]


def example_users(lake: "Lake", surface: str) -> list[str]:
    """Pseudonyms of three users with a long, a middling and a short history; fewer where there are fewer users."""
    return [str(user) for user in lake.frame(_EXAMPLES, [surface])["user_id"]]


def _user_list(rows: pd.DataFrame) -> ShownList:
    first = rows.iloc[0]
    return ShownList(
        user_id=str(first["user_id"]),
        segment=None,
        model_version=str(first["model_version"]),
        index_version=str(first["index_version"]),
        input_snapshot=int(first["input_snapshot"]),
        lane=str(first["lane"]),
        generated_at=first["generated_at"].to_pydatetime(),
        expires_at=first["expires_at"].to_pydatetime(),
        last_event_at=None if pd.isna(first["last_event_at"]) else first["last_event_at"].to_pydatetime(),
        items=_items(rows),
    )


def _mirrored_list(lake: "Lake", found: "ServedList") -> ShownList:
    """A list of the mirror with the titles of the lake."""
    sql = "SELECT item_id, title FROM marts.items WHERE item_id IN (SELECT unnest(?::VARCHAR[]))"
    titles = lake.frame(sql, [list(found.item_ids)]).astype(object)
    by_item = dict(zip(titles["item_id"], titles["title"].where(titles["title"].notna(), None), strict=True))
    rows = zip(found.item_ids, found.scores, found.sources, found.reasons, strict=True)
    items = tuple(
        {"rank": rank, "item_id": item, "title": by_item.get(item), "score": score, "source": source, "reason": reason}
        for rank, (item, score, source, reason) in enumerate(rows, start=1)
    )
    return ShownList(
        found.user_id,
        None,
        found.model_version,
        found.index_version,
        found.input_snapshot,
        found.lane,
        found.generated_at,
        found.expires_at,
        found.last_event_at,
        items,
        read_from="mirror",
    )


def _segment_list(lake: "Lake", domain: "Domain", segment: str, snapshot: int | None) -> ShownList:
    from assets.builds import data_as_of

    as_of = data_as_of(lake)
    values = {"segment": segment, "as_of": as_of, "top_k": domain.top_k}
    rows = _frame(lake, _SEGMENT, values, snapshot)
    if rows.empty:
        known = _frame(lake, "SELECT DISTINCT segment FROM features.item_popularity ORDER BY ALL", [], snapshot)
        names = ", ".join(repr(str(name)) for name in known["segment"]) or "none yet; run `freshet run`"
        raise DataError(f"no popular items in segment {segment!r}; the segments are {names}")
    return ShownList("", segment, "", "", None, "batch", as_of, None, None, _items(rows))


def _items(rows: pd.DataFrame) -> tuple[dict[str, Any], ...]:
    chosen = rows.loc[rows["item_id"].notna(), ["rank", "item_id", "title", "score", "source", "reason"]]
    plain = chosen.astype(object).where(chosen.notna(), None).to_dict("records")
    return tuple({str(name): value for name, value in row.items()} for row in plain)


def _frame(lake: "Lake", sql: str, values: Sequence[Any] | dict[str, Any], snapshot: int | None) -> pd.DataFrame:
    with lake.connect(snapshot=snapshot) as connection:
        try:
            return connection.execute(sql, values).df()
        except duckdb.CatalogException as error:
            when = "" if snapshot is None else f" at snapshot {snapshot}"
            raise LakeError(f"there are no lists{when}: {error}; run `freshet run`") from error
