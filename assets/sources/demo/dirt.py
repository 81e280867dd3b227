"""Dirt on top of good rows, counted exactly: late events, repeated rows and broken rows."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.sources.demo.config import LONGEST_DELAY, DemoReport, DirtRates

_BAD_TIMES = ("2026-13-45T25:61:00Z", "yesterday evening", "00/00/0000", "n/a")
_UNKNOWN_TYPES = ("hover", "veiw", "UNKNOWN_7", "scroll")


class LateMail:
    """Keeps events back and delivers them with the file of a later day."""

    def __init__(self, rate: float) -> None:
        """Start with nothing held; `rate` is the share of events that come late."""
        self._rate = rate
        self._held: dict[int, list[pd.DataFrame]] = {}

    def post(self, frame: pd.DataFrame, can_be_late: NDArray[np.bool_], day: int, rng: np.random.Generator) -> Any:
        """Take out the late rows of `day`; returns the punctual rows and the rows that arrive today from before."""
        delay = np.where(rng.random(len(frame)) < self._rate, rng.integers(1, LONGEST_DELAY + 1, len(frame)), 0)
        delay = np.where(can_be_late, delay, 0)
        for days in range(1, LONGEST_DELAY + 1):
            self._held.setdefault(day + days, []).append(frame[delay == days])
        return frame[delay == 0], pd.concat(self._held.pop(day, [frame[:0]]))

    @property
    def held(self) -> int:
        """Rows that wait for a later day."""
        return sum(len(frame) for frames in self._held.values() for frame in frames)


def soil_events(
    frame: pd.DataFrame, day: int, rates: DirtRates, rng: np.random.Generator, report: DemoReport
) -> pd.DataFrame:
    """Add broken and repeated rows to a day's good rows and count them in `report`; returns the rows of the file."""
    count = len(frame)
    broken = []
    for rule, column, texts in (
        ("unparsable_time", "event_at", _BAD_TIMES),
        ("missing_user_id", "user_id", ("",)),
        ("unknown_event_type", "event_type", _UNKNOWN_TYPES),
        ("value_not_finite", "value", ("NaN",)),
    ):
        sample = _sample(frame, rng.binomial(count, getattr(rates, rule)), rng)
        # Broken rows are rows of their own, not spoilt copies of a good one: their ids are unique.
        sample["event_id"] = [f"x{day:04d}-{rule}-{row:04d}" for row in range(len(sample))]
        sample[column] = [texts[row % len(texts)] for row in range(len(sample))]
        report.broken[rule] = report.broken.get(rule, 0) + len(sample)
        broken.append(sample)
    repeated = _sample(frame, rng.binomial(count, rates.duplicates), rng)
    report.duplicates += len(repeated)
    extra = pd.concat([*broken, repeated])
    # Extra rows land anywhere among the others; a stable sort keeps the others in order of time.
    places = np.concatenate([np.arange(count), rng.random(len(extra)) * count])
    return pd.concat([frame, extra]).iloc[np.argsort(places, kind="stable")]


def soil_items(
    rows: list[dict[str, Any]], rates: DirtRates, rng: np.random.Generator, report: DemoReport
) -> list[dict[str, Any]]:
    """Append broken versions of some items, each with a negative price; none where items have no price."""
    chosen = np.flatnonzero(rng.random(len(rows)) < rates.price_negative)
    broken = [rows[index] | {"price": f"-{rows[index]['price']}"} for index in chosen if "price" in rows[index]]
    report.broken["price_negative"] = report.broken.get("price_negative", 0) + len(broken)
    return rows + broken


def _sample(frame: pd.DataFrame, size: int, rng: np.random.Generator) -> pd.DataFrame:
    """Distinct rows of a frame, `size` at most."""
    return frame.iloc[rng.choice(len(frame), min(size, len(frame)), replace=False)].copy()
