"""Seconds from arrival to list: percentiles, what the check says of them, the plot, and what is forgotten."""

import base64
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from dagster import AssetCheckResult, AssetCheckSeverity

from assets.domain import Domain
from assets.lake import Lake, append_frame
from assets.list_freshness import by_user, forget_freshness, freshness_result, list_freshness, oldest_kept
from models.errors import ConfigurationError
from models.schema import LIST_FRESHNESS

UNTIL = datetime(2026, 1, 8, 12)
HOUR = timedelta(hours=1)


def _domain(**values: Any) -> Domain:
    return Domain("shop", {"view": 1.0}, freshness_warn_seconds=5, freshness_fail_seconds=50, **values)


def _add(lake: Lake, waits: list[float], *, surface: str = "home", ago: timedelta = timedelta(minutes=1)) -> None:
    frame = pd.DataFrame({"wait": waits})
    rows = frame.assign(
        user_id=[f"u{number}" for number in range(len(waits))],
        surface=surface,
        source="landing",
        events=1,
        event_at=UNTIL - ago,
        committed_at=UNTIL - ago,
        arrived_at=UNTIL - ago - pd.to_timedelta(frame["wait"], unit="s"),
    )
    lake.write(lambda connection: append_frame(connection, LIST_FRESHNESS, rows), message="freshness")


def _result(lake: Lake) -> AssetCheckResult:
    return freshness_result(list_freshness(lake, "home", until=UNTIL, window=HOUR), _domain())


def test_percentiles_are_those_of_the_window_and_the_surface(lake: Lake) -> None:
    _add(lake, [float(number) for number in range(101)])
    _add(lake, [1000.0], surface="cart")
    _add(lake, [1000.0], ago=2 * HOUR)
    found = list_freshness(lake, "home", until=UNTIL, window=HOUR)
    assert found.lists == 101
    assert found.percentiles == pytest.approx({"p50": 50, "p95": 95, "p99": 99})
    assert found.worst == pytest.approx(100)
    assert found.slowest[0] == "u100 from landing: 100.0 s"
    assert found.over_time["percentile"].tolist() == ["p50", "p95", "p99"]


@pytest.mark.parametrize(
    ("wait", "passed", "severity"),
    [
        (4.0, True, AssetCheckSeverity.WARN),
        (6.0, False, AssetCheckSeverity.WARN),
        (60.0, False, AssetCheckSeverity.ERROR),
    ],
)
def test_the_check_warns_and_then_fails(lake: Lake, wait: float, passed: bool, severity: AssetCheckSeverity) -> None:
    _add(lake, [wait] * 3)
    result = _result(lake)
    assert (result.passed, result.severity) == (passed, severity)
    assert result.metadata["unexpected"].value == (0 if passed else pytest.approx(wait))


def test_the_check_shows_a_picture(lake: Lake) -> None:
    _add(lake, [1.0, 2.0])
    _add(lake, [3.0], ago=timedelta(minutes=30))
    text = _result(lake).metadata["figure_freshness"].value
    png = base64.b64decode(text.removeprefix("![freshness](data:image/png;base64,").removesuffix(")"))
    assert png.startswith(b"\x89PNG")


def test_without_lists_the_check_says_so(lake: Lake) -> None:
    result = _result(lake)
    assert result.passed
    assert "no list was renewed" in str(result.description)


def test_rows_are_forgotten_a_whole_hour_at_a_time(lake: Lake) -> None:
    assert oldest_kept(datetime(2026, 1, 8, 12, 34, 56), timedelta(hours=24)) == datetime(2026, 1, 7, 12)
    _add(lake, [1.0], ago=timedelta(hours=30))
    _add(lake, [2.0])
    lake.write(lambda connection: forget_freshness(connection, oldest_kept(UNTIL, timedelta(hours=24))), message="trim")
    kept = lake.frame("SELECT committed_at FROM ops.list_freshness")["committed_at"].tolist()
    assert kept == [UNTIL - timedelta(minutes=1)]


def test_a_domain_that_fails_before_it_warns_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="freshness_fail_seconds"):
        Domain("shop", {"view": 1.0}, freshness_warn_seconds=5, freshness_fail_seconds=4)


def test_new_events_are_summed_up_by_user() -> None:
    at = pd.to_datetime(["2026-01-02", "2026-01-04", "2026-01-03"])
    events = pd.DataFrame({"user_id": ["b", "a", "b"], "event_at": at, "arrived_at": at[::-1]})
    found = by_user(events)
    expected = events.groupby("user_id", as_index=False).agg(
        events=("event_at", "size"), event_at=("event_at", "max"), arrived_at=("arrived_at", "min")
    )
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    assert not len(by_user(events.iloc[:0]))
