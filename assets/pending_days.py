"""Days with events that the warehouse has not built yet: `ops.pending_days`.

Whoever adds events appends a row for each of their days, so that it need not look for the one before; the rows of a day
add up. `add_up` makes them one again.
"""

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
            "SELECT event_day, sum(rows_added)::BIGINT FROM ops.pending_days WHERE event_day >= ? AND event_day < ? "
            "GROUP BY event_day ORDER BY event_day",
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
        _replace_rows(connection, built)

    lake.write(settle, message=f"settle {len(built)} built days")


def mark_pending(connection: duckdb.DuckDBPyConnection, added: Mapping[date, int]) -> None:
    """Events were added on days.

    Args:
        connection: Inside a transaction.
        added: How many on each.
    """
    rows = ", ".join(f"(DATE '{day}', {count})" for day, count in added.items())
    connection.execute(f"INSERT INTO ops.pending_days (event_day, rows_added) VALUES {rows}")


def add_up(connection: duckdb.DuckDBPyConnection) -> None:
    """One row for each day; inside a transaction."""
    days = connection.execute("SELECT event_day FROM ops.pending_days GROUP BY ALL HAVING count(*) > 1").fetchall()
    if days:
        _replace_rows(connection, {day: 0 for (day,) in days})


def _replace_rows(connection: duckdb.DuckDBPyConnection, built: Mapping[date, int]) -> None:
    """Put one row in the place of all of a day, without the events that were built; none where nothing is left."""
    connection.execute("CREATE OR REPLACE TEMP TABLE built (event_day DATE, rows_added BIGINT)")
    connection.executemany("INSERT INTO built VALUES (?, ?)", [list(row) for row in built.items()])
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE remaining AS "
        "SELECT event_day, sum(p.rows_added) - any_value(built.rows_added) AS rows_added "
        "FROM ops.pending_days AS p JOIN built USING (event_day) GROUP BY event_day"
    )
    connection.execute("DELETE FROM ops.pending_days WHERE event_day IN (SELECT event_day FROM built)")
    connection.execute(
        "INSERT INTO ops.pending_days (event_day, rows_added) SELECT event_day, rows_added::BIGINT FROM remaining "
        "WHERE rows_added > 0 ORDER BY event_day"
    )
