"""The table of the lists, `serving.top_k`: what a row says besides its items, and how rows are replaced."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import duckdb

Lane = Literal["batch", "nearline"]
"""Which lane made a list."""

_INSERT = """
INSERT INTO serving.top_k BY NAME
SELECT
    ? AS surface, user_id, items,
    ? AS model_version, ? AS index_version, ? AS input_snapshot, ? AS generated_at, ? AS expires_at, ? AS lane,
    last_event_at
FROM read_parquet(?)
"""

# Lists of users with events that wait for the warehouse.
_AHEAD = """
SELECT DISTINCT l.user_id FROM serving.top_k AS l
JOIN raw.events AS e ON e.user_id = l.user_id AND e.event_day IN (SELECT event_day FROM ops.pending_days)
WHERE l.surface = ? AND l.lane = 'nearline'
"""

TOP_K_ITEMS_VIEW = """
CREATE OR REPLACE VIEW serving.top_k_items AS
SELECT
    surface, user_id, position AS rank, entry.item_id, entry.score, entry.source, entry.reason,
    entry.contributions, entry.propensity, model_version, generated_at, expires_at
FROM (
    SELECT *, unnest(items) AS entry, unnest(range(1, len(items) + 1)) AS position
    FROM serving.top_k
)
"""
"""One row for each entry of each list."""


@dataclass(frozen=True)
class ListFacts:
    """What lists that were made together have in common; the columns of `serving.top_k` in the order of `_INSERT`."""

    surface: str
    model_version: str
    index_version: str
    input_snapshot: int
    generated_at: datetime
    expires_at: datetime
    lane: Lane


def replace_lists(
    connection: duckdb.DuckDBPyConnection,
    made: ListFacts,
    files: str | None,
    *,
    user_ids: Sequence[str] | None,
    kept: Sequence[str] = (),
) -> None:
    """Put lists in the place of those that users had.

    Args:
        connection: Inside a transaction.
        made: What all the lists have in common.
        files: Glob of Parquet files of `assets.list_blocks`; None where there are no new lists.
        user_ids: Users whose old lists go; all when None.
        kept: Users whose old lists stay, whatever the files hold.
    """
    delete_lists(connection, made.surface, user_ids=user_ids, kept=kept)
    if files is not None:
        insert_lists(connection, made, files, kept=kept)


def delete_lists(
    connection: duckdb.DuckDBPyConnection, surface: str, *, user_ids: Sequence[str] | None, kept: Sequence[str] = ()
) -> None:
    """The first half of `replace_lists`."""
    excluded, spared = _but(kept)
    if user_ids is None:
        connection.execute(f"DELETE FROM serving.top_k WHERE surface = ? AND {excluded}", [surface, *spared])
        return
    # As a case, the surface is looked at for these users only; a plain condition is for every list there is, which
    # takes as long as all the rest.
    connection.execute(
        "DELETE FROM serving.top_k WHERE user_id IN (SELECT unnest(?::VARCHAR[])) "
        f"AND CASE WHEN surface = ? THEN true ELSE false END AND {excluded}",
        [list(user_ids), surface, *spared],
    )


def insert_lists(
    connection: duckdb.DuckDBPyConnection, made: ListFacts, files: str, *, kept: Sequence[str] = ()
) -> None:
    """The second half of `replace_lists`."""
    excluded, spared = _but(kept)
    connection.execute(f"{_INSERT} WHERE {excluded}", [*vars(made).values(), files, *spared])


def _but(kept: Sequence[str]) -> tuple[str, list[list[str]]]:
    """A condition that leaves users out, and its parameters."""
    return ("user_id NOT IN (SELECT unnest(?::VARCHAR[]))", [list(kept)]) if kept else ("true", [])


def users_ahead(connection: duckdb.DuckDBPyConnection, surface: str) -> list[str]:
    """Users whose lists know events that wait for the warehouse."""
    return [user for (user,) in connection.execute(_AHEAD, [surface]).fetchall()]
