"""Partitions of the warehouse: one UTC day of events each."""

from datetime import UTC, date, datetime, time, timedelta

from dagster import DailyPartitionsDefinition


def daily_partitions(first_day: date, last_day: date | None = None) -> DailyPartitionsDefinition:
    """Days of events in UTC, from the first to the last or, where that is in the future, to today.

    Today is a partition as soon as it has begun: its events are built as they come, and again when it is complete.

    Args:
        first_day: First day with events.
        last_day: Last day with events, for data that ends in the past; without it the days go on with the clock.
    """
    return DailyPartitionsDefinition(
        start_date=datetime.combine(first_day, time(), UTC),
        end_date=None if last_day is None else datetime.combine(last_day + timedelta(days=1), time(), UTC),
        end_offset=1,
        timezone="UTC",
    )
