"""How long events waited for the list that reflects them: what `ops.list_freshness` says of a stretch of time.

One row for each list that the nearline lane renewed; rows are kept for as long as a setting says.
"""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from dagster import AssetCheckResult, AssetCheckSeverity, MetadataValue, asset_check

from assets.check_results import COUNT, NEXT_STEP, SAMPLE, UNIT
from assets.domain import Domain
from assets.lake import Lake
from assets.resources import DomainResource, LakeResource
from assets.serving import TOP_K

CHECK = "lists_follow_events_in_time"
PERCENTILES = ("p50", "p95", "p99")
POINTS = 30
"""Points of the plot in its window."""

_NEXT_STEP = (
    "an event reaches its user's list within the seconds that the domain allows; see that `freshet nearline` leads "
    "(its /health page), and how long its batches take (/metrics)"
)
_WINDOW = "FROM ops.list_freshness WHERE surface = $surface AND committed_at > $begin AND committed_at <= $until"
_SECONDS = "epoch(committed_at - arrived_at)"
_OVERALL = f"""
SELECT count(*) AS lists, quantile_cont({_SECONDS}, [0.5, 0.95, 0.99]) AS percentiles, max({_SECONDS}) AS worst
{_WINDOW} AND arrived_at IS NOT NULL
"""
_OVER_TIME = f"""
SELECT
    time_bucket($step::INTERVAL, committed_at, $begin::TIMESTAMP) AS moment, count(*) AS lists,
    unnest(quantile_cont({_SECONDS}, [0.5, 0.95, 0.99])) AS seconds, unnest(['p50', 'p95', 'p99']) AS percentile
{_WINDOW} AND arrived_at IS NOT NULL GROUP BY moment ORDER BY moment, percentile
"""
_SLOWEST = f"SELECT user_id, source, {_SECONDS} AS seconds {_WINDOW} ORDER BY seconds DESC, user_id LIMIT 5"


@dataclass(frozen=True)
class ListFreshness:
    """Seconds from the arrival of events to the commit of the lists that reflect them, in one window."""

    lists: int
    percentiles: dict[str, float]
    """Of all lists of the window; empty without lists."""
    worst: float
    over_time: pd.DataFrame
    """`moment, lists, percentile, seconds`, by moment."""
    slowest: tuple[str, ...]
    """The slowest lists as text: pseudonym, source, seconds."""


def list_freshness(lake: Lake, surface: str, *, until: datetime, window: timedelta) -> ListFreshness:
    """Freshness of the lists of a surface.

    Args:
        lake: Where the rows are.
        surface: Only its lists.
        until: End of the window, UTC without a zone.
        window: Its length.
    """
    bounds = {"surface": surface, "begin": until - window, "until": until}
    with lake.connect() as connection:
        lists, percentiles, worst = connection.execute(_OVERALL, bounds).fetchall()[0]
        over_time = connection.execute(_OVER_TIME, {**bounds, "step": window / POINTS}).df()
        slowest = connection.execute(_SLOWEST, bounds).fetchall() if lists else []
    return ListFreshness(
        lists=int(lists),
        percentiles=dict(zip(PERCENTILES, map(float, percentiles), strict=True)) if lists else {},
        worst=float(worst or 0),
        over_time=over_time,
        slowest=tuple(f"{user[:12]} from {source}: {seconds:.1f} s" for user, source, seconds in slowest),
    )


def freshness_result(found: ListFreshness, domain: Domain) -> AssetCheckResult:
    """What the check says: p95 against the seconds that the domain allows, with a plot over time."""
    p95 = found.percentiles.get("p95", 0.0)
    is_late, is_failed = p95 > domain.freshness_warn_seconds, p95 > domain.freshness_fail_seconds
    limits = f"{domain.freshness_warn_seconds:g} s (warning), {domain.freshness_fail_seconds:g} s (error)"
    says = f"p95 of {found.lists:,} lists: {p95:.1f} s after the event had arrived; allowed are {limits}"
    return AssetCheckResult(
        check_name=CHECK,
        passed=not is_late,
        severity=AssetCheckSeverity.ERROR if is_failed else AssetCheckSeverity.WARN,
        description=says if found.lists else "no list was renewed by the nearline lane in the window",
        metadata={
            "lists": found.lists,
            **{f"arrival_to_list_{name}_s": round(value, 3) for name, value in found.percentiles.items()},
            "arrival_to_list_worst_s": round(found.worst, 3),
            COUNT: round(p95, 3) if is_late else 0,
            UNIT: "seconds",
            SAMPLE: MetadataValue.json(list(found.slowest) if is_late else []),
            NEXT_STEP: _NEXT_STEP,
            **_figure(found, domain),
        },
    )


@asset_check(
    asset=TOP_K,
    name=CHECK,
    description="Events reached the lists of their users within the seconds that the domain allows (p95 of a window).",
)
def lists_follow_events_in_time(lake: LakeResource, domain: DomainResource) -> AssetCheckResult:
    """Judge the window that ends now."""
    chosen = domain.domain
    # The edge: from here on the time is an argument.
    now = datetime.now(UTC).replace(tzinfo=None)
    window = timedelta(minutes=chosen.freshness_window_minutes)
    return freshness_result(list_freshness(lake.lake, chosen.surface, until=now, window=window), chosen)


def forget_freshness(connection: duckdb.DuckDBPyConnection, before: datetime) -> None:
    """Drop the rows of lists that were committed before a moment; inside a transaction."""
    connection.execute("DELETE FROM ops.list_freshness WHERE committed_at < ?", [before])


def by_user(events: pd.DataFrame) -> pd.DataFrame:
    """`user_id, events, event_at, arrived_at` of new events by user: how many, the latest, and the first to arrive."""
    users, places = np.unique(events["user_id"].to_numpy(dtype=object).astype(str), return_inverse=True)
    latest = np.full(len(users), np.datetime64("1678-01-01", "us"))
    first = np.full(len(users), np.datetime64("2262-01-01", "us"))
    np.maximum.at(latest, places, events["event_at"].to_numpy(dtype="datetime64[us]"))
    np.minimum.at(first, places, events["arrived_at"].to_numpy(dtype="datetime64[us]"))
    counts = np.bincount(places, minlength=len(users))
    return pd.DataFrame({"user_id": users.astype(object), "events": counts, "event_at": latest, "arrived_at": first})


def oldest_kept(now: datetime, kept: timedelta) -> datetime:
    """Begin of the hour that was so long ago, so that rows go an hour at a time and not with every batch."""
    return (now - kept).replace(minute=0, second=0, microsecond=0)


def _figure(found: ListFreshness, domain: Domain) -> dict[str, Any]:
    if not found.lists:
        return {}
    from models.plots import png_of, seconds_over_time

    lines = {
        str(name): list(zip(part["moment"], part["seconds"], strict=True))
        for name, part in found.over_time.groupby("percentile", sort=True)
    }
    limits = {"warning": domain.freshness_warn_seconds, "error": domain.freshness_fail_seconds}
    figure = seconds_over_time(lines, limits, title="From the arrival of an event to its list")
    encoded = base64.b64encode(png_of(figure)).decode()
    return {"figure_freshness": MetadataValue.md(f"![freshness](data:image/png;base64,{encoded})")}
