"""MovieLens, complete and with missing times."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from assets.landing_zone import LandingZone
from assets.sources.movielens import interpolate_times, load
from models.errors import ConfigurationError, SourceError

# user, movie, time, position: user 1 has two known times around two unknown ones; user 2 has none (15 s is the median).
ROWS = [
    (1, 10, "2000-01-01 00:00:00", 1),
    (1, 11, None, 3),
    (1, 12, None, 2),
    (1, 13, "2000-01-01 00:00:30", 4),
    (1, 14, None, 5),
    (1, 15, None, None),
    (2, 10, None, 0),
]


def ratings() -> pd.DataFrame:
    frame = pd.DataFrame(ROWS, columns=["user_id", "item_id", "event_time", "position"])
    return frame.assign(
        event_time=pd.to_datetime(frame["event_time"], utc=True), position=frame["position"].astype("Int32")
    )


def source(tmp_path: Path, rows: pd.DataFrame) -> Path:
    folder = tmp_path / "ml-tiny"
    folder.mkdir()
    rows.to_parquet(folder / "interactions.parquet")
    items = {"item_id": [10], "title": ["Heat (1995)"], "genres": ["Action|Crime"], "release_date": ["01-Jan-1995"]}
    pd.DataFrame(items).to_parquet(folder / "items.parquet")
    users = {"user_id": [1, 2], "age": [24, 1], "gender": ["M", "F"], "occupation": [3, 4], "zip_code": ["8571", "1"]}
    pd.DataFrame(users).to_parquet(folder / "users.parquet")
    return folder


def landed(zone: LandingZone, kind: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(zone.candidates(kind)[0]).to_pylist()
    return rows


def test_times_are_interpolated_along_the_positions() -> None:
    times = interpolate_times(ratings())

    seconds = [None if pd.isna(time) else time.second for time in times]
    assert seconds == [0, 20, 10, 30, 30, None, 15]


def test_estimated_times_are_marked_and_hopeless_rows_stay_without(tmp_path: Path) -> None:
    zone = LandingZone(tmp_path / "landing")

    assert load(source(tmp_path, ratings()), zone, missing_times="interpolate").rows["events"] == 7
    rows = landed(zone, "events")
    assert [row["attributes"] for row in rows[:3]] == [
        None,
        '{"event_at":"interpolated"}',
        '{"event_at":"interpolated"}',
    ]
    assert [row["event_at"] for row in rows[4:]] == ["2000-01-01T00:00:30Z", None, "2000-01-01T00:00:15Z"]
    assert [row["source_order"] for row in rows] == ["1", "3", "2", "4", "5", None, "0"]


def test_missing_times_are_refused_by_default(tmp_path: Path) -> None:
    zone = LandingZone(tmp_path / "landing")

    with pytest.raises(SourceError, match=r"5 of 7 rows have no event_time; .*--missing-times quarantine"):
        load(source(tmp_path, ratings()), zone)

    assert zone.candidates("events") == []


def test_missing_times_can_be_left_to_the_quarantine(tmp_path: Path) -> None:
    zone = LandingZone(tmp_path / "landing")
    load(source(tmp_path, ratings()), zone, missing_times="quarantine")

    assert [row["event_at"] is None for row in landed(zone, "events")] == [False, True, True, False, True, True, True]


def test_complete_ratings_movies_and_people(tmp_path: Path) -> None:
    zone = LandingZone(tmp_path / "landing")
    complete = ratings().iloc[[0]].drop(columns="position").assign(rating=5)
    load(source(tmp_path, complete), zone)

    (event,) = landed(zone, "events")
    assert (event["user_id"], event["event_type"], event["value"]) == ("1", "rating", "5")
    (item,) = landed(zone, "items")
    assert (item["categories"], item["attributes"]) == ("Action > Crime", '{"release_date":"01-Jan-1995"}')
    people = landed(zone, "users")
    assert [person["age_band"] for person in people] == ["18-24", "under 18"]
    assert "8571" not in str(people)  # zip codes are left out


def test_an_unknown_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="interpolate"):
        load(tmp_path, LandingZone(tmp_path), missing_times="guess")  # type: ignore[arg-type]
