"""What the warehouse is made of, and which of its days must be built."""

from datetime import date, timedelta

from assets.builds import Recipe
from assets.lake import Lake

BUILD_FROM_TAG = "freshet/build_from"
"""Tag of a run that builds days before its range of partitions too: the first of them."""

FACTS, DIMENSIONS = "warehouse_facts", "warehouse_dimensions"

RECIPES = {
    FACTS: Recipe("2", tables=("raw.event_types", "raw.domain_rules")),
    DIMENSIONS: Recipe("1", tables=("raw.items", "raw.users", "raw.domain_rules", "marts.interactions")),
}
"""Facts are stale as a whole only when the domain's rules changed; else the list of pending days decides."""


def is_whole(lake: Lake, window: tuple[date, date] | None) -> bool:
    """Whether a window, end exclusive, covers all days with events; None is everything."""
    every = days_with_events(lake)
    return window is None or every is None or (window[0] <= every[0] and every[1] <= window[1])


def days_with_events(lake: Lake) -> tuple[date, date] | None:
    """First day with raw events and the day after the last; None without events."""
    days = lake.frame("SELECT min(event_day) AS first_day, max(event_day) AS last_day FROM raw.events").iloc[0]
    if days.isna().any():
        return None
    return days["first_day"].date(), days["last_day"].date() + timedelta(days=1)
