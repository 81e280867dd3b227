"""What the nearline lane reads of users from the lake."""

from datetime import date

import duckdb
import pandas as pd

from assets.lake import Lake
from assets.warehouse_sql import EVENT_COLUMNS, HISTORY_ROWS

_EVENTS = f"""
SELECT {", ".join(EVENT_COLUMNS)} FROM raw.events SEMI JOIN pairs USING (user_id, event_day)
WHERE event_day >= ? AND event_day <= ?
"""
_MARTS = f"FROM ({HISTORY_ROWS}) SEMI JOIN users USING (user_id)"
# Of users with attributes: the others have a list only while an interaction of theirs counts.
_SEGMENTS = """
SELECT user_id, segment FROM marts.users SEMI JOIN users USING (user_id) SEMI JOIN raw.users AS r USING (user_id)
"""
_EVERYBODY = """
WITH active AS (
    SELECT user_id, max(event_at) AS latest, count(*) AS interactions FROM marts.interactions GROUP BY user_id
),
everybody AS (
    SELECT user_id FROM raw.events UNION SELECT user_id FROM raw.users UNION SELECT user_id FROM marts.users
)
SELECT user_id, coalesce(interactions, 0) AS interactions FROM everybody LEFT JOIN active USING (user_id)
ORDER BY latest DESC NULLS LAST, user_id
"""
_LATER_DAYS = """
SELECT event_day FROM ops.pending_days UNION SELECT event_day FROM raw.events WHERE event_day > ? ORDER BY event_day
"""
_BUILT_UNTIL = "SELECT max(event_day) AS day FROM (FROM raw.events ANTI JOIN ops.pending_days USING (event_day))"


def everybody(lake: Lake, snapshot: int) -> pd.DataFrame:
    """`user_id, interactions` of all users of whom anything is known, those who were active last first."""
    return lake.frame(_EVERYBODY, snapshot=snapshot)


def built_until(lake: Lake, snapshot: int) -> date:
    """Last day with events that the warehouse has built."""
    day = lake.frame(_BUILT_UNTIL, snapshot=snapshot)["day"].iloc[0]
    return date.min if pd.isna(day) else pd.Timestamp(day).date()


def later_days(connection: duckdb.DuckDBPyConnection, day: date) -> pd.Series:
    """Days with events that the warehouse has not built, and all that are later than a day.

    Args:
        connection: In which the lake is the default database.
        day: Last day that was built at first.
    """
    return connection.execute(_LATER_DAYS, [day]).df()["event_day"]


def events_of_days(connection: duckdb.DuckDBPyConnection, pairs: pd.DataFrame) -> pd.DataFrame:
    """`EVENT_COLUMNS` of the raw events of users on days.

    Args:
        connection: In which the lake is the default database.
        pairs: `user_id, event_day`.
    """
    connection.register("pairs", pairs.assign(event_day=pairs["event_day"].dt.date))
    days = [pairs["event_day"].min(), pairs["event_day"].max()] if len(pairs) else [pd.Timestamp.min] * 2
    found = connection.execute(_EVENTS, [day.date() for day in days]).df()
    connection.unregister("pairs")
    return found


def built_users(connection: duckdb.DuckDBPyConnection, user_ids: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the warehouse has built of users: `INTERACTION_COLUMNS`, and `user_id, segment` of those with attributes."""
    connection.register("users", pd.DataFrame({"user_id": pd.Series(user_ids, dtype=object)}))
    marts, known = connection.execute(_MARTS).df(), connection.execute(_SEGMENTS).df()
    connection.unregister("users")
    return marts, known
