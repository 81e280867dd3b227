"""Writes the lists of one span of batches anew, into one file, in the place of the files that each batch made.

Reading them takes most of the time and needs no lock. Under the lock only those go that nobody has changed since.
"""

import duckdb

from assets.lake import roll_back, snapshot_of
from assets.lake_errors import patient
from models.schema import TOP_K

Share = tuple[str, str]
"""First pseudonym of a share of the users, and that of the next share; empty: there is none before, or after."""

EVERYBODY: Share = ("", "")

_READ = f"""
CREATE OR REPLACE TEMP TABLE recent_lists AS
FROM {TOP_K.qualified_name}
WHERE surface = $surface AND lane = 'nearline' AND input_snapshot >= $since
    AND user_id >= $first AND ($next = '' OR user_id < $next)
ORDER BY user_id
"""
_FORGET_CHANGED = f"""
DELETE FROM recent_lists WHERE user_id IN (
    SELECT user_id FROM ducklake_table_deletions(
        'lake', '{TOP_K.schema}', '{TOP_K.name}', $first::BIGINT, $last::BIGINT
    )
    WHERE surface = $surface
)
"""
# As a case, the surface is looked at for these users only.
_DELETE = f"""
DELETE FROM {TOP_K.qualified_name}
WHERE user_id IN (SELECT user_id FROM recent_lists) AND CASE WHEN surface = $surface THEN true ELSE false END
"""


def read_recent(connection: duckdb.DuckDBPyConnection, surface: str, since: int, share: Share = EVERYBODY) -> int:
    """Keep the nearline lane's lists of a share of the users in the temporary table `recent_lists`.

    Args:
        connection: Outside of a transaction.
        surface: Surface of the lists.
        since: Lists made from this snapshot on.
        share: Which users.

    Returns:
        The snapshot that has these lists.
    """

    def read() -> int:
        connection.execute("BEGIN")
        try:
            connection.execute(_READ, {"surface": surface, "since": since, "first": share[0], "next": share[1]})
            snapshot = snapshot_of(connection)
            connection.execute("COMMIT")
        except duckdb.Error:
            roll_back(connection)
            raise
        return snapshot

    # A commit of another connection may lock the catalogue for a moment.
    return patient(0.05, longest_s=1)(read)


def replace_recent(connection: duckdb.DuckDBPyConnection, surface: str, read: int) -> None:
    """Put the lists of `recent_lists` in their own place, but for those replaced, struck or removed meanwhile.

    Args:
        connection: In a transaction of the connection that read them.
        surface: Surface of the lists.
        read: The snapshot that has them.
    """
    now = snapshot_of(connection)
    if now > read:
        connection.execute(_FORGET_CHANGED, {"first": read + 1, "last": now, "surface": surface})
    connection.execute(_DELETE, {"surface": surface})
    connection.execute(f"INSERT INTO {TOP_K.qualified_name} FROM recent_lists")
