"""MovieLens: a folder with `interactions.parquet`, `items.parquet` and `users.parquet`.

Understands the complete ml-100k (ratings and times) and a partial ml-1m (no ratings, a time for some rows, the
order of a user's rows in `position`). These sets have at most a million rows and are read whole. Zip codes are
left out: with age and occupation they can name a person.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from assets.landing_zone import LandingZone
from assets.sources.loading import LoadResult, constant, json_objects, require_files, slices
from models.errors import ConfigurationError, SourceError

MissingTimes = Literal["refuse", "quarantine", "interpolate"]

_MISSING_TIMES = ("refuse", "quarantine", "interpolate")


def load(source: Path, landing: LandingZone, *, missing_times: MissingTimes = "refuse") -> LoadResult:
    """Land the ratings as events, the movies as items and the people as users.

    Args:
        source: Folder with the three files.
        landing: Where to.
        missing_times: What to do with rows without a time. `refuse` stops. `quarantine` lands them as they are, so
            that ingestion quarantines them. `interpolate` estimates a time that keeps the user's known order, for
            protocols that need only the order, such as leave-one-out: evenly between the two known times around a
            row, or equal to the nearest one at the ends; for a user without any known time the median of all known
            ones. Such events carry `"event_at": "interpolated"` in their attributes. A row without a position stays
            without a time.

    Raises:
        ConfigurationError: `missing_times` is none of these.
        SourceError: a file is missing, or rows have no time and `missing_times` is `refuse`.
    """
    if missing_times not in _MISSING_TIMES:
        raise ConfigurationError(f"missing times {missing_times!r}: choose one of {', '.join(_MISSING_TIMES)}")
    names = ["interactions.parquet", "items.parquet", "users.parquet"]
    interactions, items, users = (pd.read_parquet(path) for path in require_files(source, names, "movielens"))
    events = _events(interactions, missing_times, source)
    return LoadResult.of(
        {
            "events": landing.publish("events", f"movielens.{source.name}.{missing_times}", slices(events)),
            "items": landing.publish("items", f"movielens.{source.name}", slices(_items(items))),
            "users": landing.publish("users", f"movielens.{source.name}", slices(_users(users))),
        }
    )


def interpolate_times(rows: pd.DataFrame) -> "pd.Series[Any]":
    """Times of all rows, estimated where unknown from the known ones of the same user.

    Args:
        rows: `user_id`, `event_time` (NaT where unknown) and `position` (order within the user, null where unknown).

    Returns:
        Times aligned with `rows`; never decreasing along a user's positions if the known ones are not. All rows of a
        user without any known time get the median of all known times, if there is one.
    """
    placed = rows[rows["position"].notna()].sort_values(["user_id", "position"], kind="stable")
    seconds = placed["event_time"].dt.as_unit("us").astype("int64").where(placed["event_time"].notna()) / 1e6
    filled = seconds.groupby(placed["user_id"]).transform(_fill_evenly).fillna(seconds.median())
    estimated = pd.to_datetime(filled.round(), unit="s", utc=True).reindex(rows.index)
    return rows["event_time"].where(rows["event_time"].notna(), estimated)


def _fill_evenly(seconds: "pd.Series[Any]") -> "pd.Series[Any]":
    known = np.flatnonzero(seconds.notna())
    if not len(known):
        return seconds
    filled = np.interp(np.arange(len(seconds)), known, seconds.to_numpy()[known])
    return pd.Series(filled, index=seconds.index)


def _events(rows: pd.DataFrame, missing_times: str, source: Path) -> pa.Table:
    is_missing = rows["event_time"].isna()
    if is_missing.any() and missing_times == "refuse":
        raise SourceError(
            f"{source / 'interactions.parquet'}: {int(is_missing.sum()):,} of {len(rows):,} rows have no event_time; "
            "load with --missing-times quarantine to leave them out, or --missing-times interpolate to estimate "
            "times that keep the known order"
        )
    times = rows["event_time"]
    if missing_times == "interpolate" and is_missing.any():
        times = interpolate_times(rows)
    is_estimated = is_missing & times.notna()
    notes = ["interpolated" if estimated else None for estimated in is_estimated]
    columns = {
        "user_id": _text(rows["user_id"]),
        "item_id": _text(rows["item_id"]),
        "event_type": constant("rating", len(rows)),
        "event_at": _text(times.dt.strftime("%Y-%m-%dT%H:%M:%SZ")),
        "attributes": json_objects({"event_at": notes}, len(rows)),
    }
    if "rating" in rows:
        columns["value"] = _text(rows["rating"])
    if "position" in rows:
        columns["source_order"] = _text(rows["position"].astype("Int64"))
    return pa.table(columns)


def _items(items: pd.DataFrame) -> pa.Table:
    extra = {name: items[name].tolist() for name in ("release_date", "imdb_url") if name in items}
    cleaned = {name: [value if isinstance(value, str) else None for value in values] for name, values in extra.items()}
    return pa.table(
        {
            "item_id": _text(items["item_id"]),
            "title": _text(items["title"]),
            "categories": _text(items["genres"].str.replace("|", " > ", regex=False)),
            "attributes": json_objects(cleaned, len(items)),
        }
    )


def _users(users: pd.DataFrame) -> pa.Table:
    extra = {name: [str(value) for value in users[name]] for name in ("gender", "occupation")}
    return pa.table(
        {
            "user_id": _text(users["user_id"]),
            "age_band": pa.array([_age_band(int(age)) for age in users["age"]]),
            "attributes": json_objects(extra, len(users)),
        }
    )


def _age_band(age: int) -> str:
    """The bands of ml-1m, whose `age` is the lower bound of a band already (1 for under 18)."""
    starts = (18, 25, 35, 45, 50, 56)
    if age < starts[0]:
        return "under 18"
    start = max(start for start in starts if start <= age)
    following = next((other for other in starts if other > start), None)
    return f"{start}-{following - 1}" if following else f"{start}+"


def _text(values: "pd.Series[Any]") -> pa.Array:
    return pa.Array.from_pandas(values).cast(pa.string())
