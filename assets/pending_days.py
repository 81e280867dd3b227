"""Days with events that the warehouse has not built yet."""

from collections.abc import Mapping
from datetime import date

import duckdb

from assets.lake import Lake


def pending_days(lake: Lake, window: tuple[date, date] | None = None) -> dict[date, int]:
    """Days to build and how many events were added to each since its last build, in order of day.

    Args:
        lake: The lake.
        window: First day, and the day after the last; None for all days.
    """
    first, end = window or (date.min, date.max)
    with lake.connect() as connection:
        rows = connection.execute(
            "SELECT event_day, rows_added FROM ops.pending_days WHERE event_day >= ? AND event_day < ? "
            "ORDER BY event_day",
            [first, end],
        ).fetchall()
    return dict(rows)


def settle_pending_days(lake: Lake, built: Mapping[date, int]) -> None:
    """Take built days off the list; a day that got events since its build began stays, with those events.

    Args:
        lake: The lake.
        built: What `pending_days` answered before the build began.
    """
    if not built:
        return

    def settle(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("CREATE TEMP TABLE built (event_day DATE, rows_added BIGINT)")
        connection.executemany("INSERT INTO built VALUES (?, ?)", [list(row) for row in built.items()])
        connection.execute(
            "UPDATE ops.pending_days SET rows_added = pending_days.rows_added - built.rows_added "
            "FROM built WHERE pending_days.event_day = built.event_day"
        )
        connection.execute("DELETE FROM ops.pending_days WHERE rows_added <= 0")

    lake.write(settle, message=f"settle {len(built)} built days")
