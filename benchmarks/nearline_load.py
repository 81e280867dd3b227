"""Sends events of known users into a Redis stream at a steady rate, from a process of its own.

    python benchmarks/nearline_load.py --home HOME --stream NAME --rate 200 --seconds 600

Every event is new and happens when it is sent. With `--order random` each is of a random user and item of the landing
zone (few items get most events): hardly any user comes twice, the worst that can be sent. With `--order market` users,
items and types follow one another as they arrived on the last days of the market, session by session, bots included, as
after a pause that is caught up with. With `--fixed` ids and times are the same in every run, and of ten events one is
late by a day, one comes twice and after one comes a row that no rule lets in. Prints what was sent, at the end or when
it is asked to end (SIGTERM).
"""

import argparse
import csv
import gzip
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import redis

from assets.domain import load_domain
from orchestration.home import open_lake
from orchestration.settings import Settings, load_settings

TICK_S = 0.05
"""Events are sent so often; the schedule is kept, so what a late tick missed is sent by the next one."""
MARKET_DAYS = 3
"""Days of the market that are repeated."""
Choice = tuple[str, str, str]
"""User, item and type of an event."""
Kind = Literal["new", "late", "again", "bad"]
"""What a source may do to an event: nothing, send it a day late, send it twice, or spoil it."""
URL = "redis://127.0.0.1:6379/9"


def main() -> None:
    """Send, then print `sent`, `seconds` and `latest_tick_s`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--stream", required=True)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--redis", default=URL)
    parser.add_argument("--order", choices=("random", "market"), default="random")
    parser.add_argument("--fixed", action="store_true")
    options = parser.parse_args()
    settings = load_settings(home=options.home)
    drawn = arrived(settings) if options.order == "market" else choices(*market_of(settings), options.seed)
    made = (event for _, event in awkward_events(drawn)) if options.fixed else fresh_events(drawn)
    sender, stop = redis.Redis.from_url(options.redis), threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    print(json.dumps(send(sender, options.stream, made, options.rate, options.seconds, stop, has_ids=options.fixed)))


def market_of(settings: Settings) -> tuple[list[str], list[str]]:
    """Ids of users as the source knows them, and of items, each in a fixed order."""
    users: set[str] = set()
    for file in sorted((settings.landing_path / "users").glob("*.csv")):
        with file.open(newline="", encoding="utf-8") as lines:
            users.update(row["user_id"] for row in csv.DictReader(lines) if row["user_id"])
    if not users:
        raise SystemExit(f"{settings.landing_path / 'users'} has no CSV files; give a home that `freshet demo` made")
    items = open_lake(settings).frame("SELECT item_id FROM marts.items ORDER BY item_id")["item_id"]
    return sorted(users), items.tolist()


def arrived(settings: Settings) -> Iterator[Choice]:
    """What users did on the last days of the market, in the order of arrival, again and again.

    Rows that the lake would refuse are left out.
    """
    files = sorted((settings.landing_path / "events").glob("*.csv.gz"))[-MARKET_DAYS:]
    if not files:
        raise SystemExit(f"{settings.landing_path / 'events'} has no days; give a home that `freshet demo` made")
    types = frozenset(load_domain(settings.domain).event_weights)
    while True:
        for file in files:
            with gzip.open(file, "rt", newline="", encoding="utf-8") as lines:
                for row in csv.DictReader(lines):
                    if row["user_id"] and row["item_id"] and row["event_type"] in types:
                        yield row["user_id"], row["item_id"], row["event_type"]


def choices(users: list[str], items: list[str], seed: int) -> Iterator[Choice]:
    """Views of random users."""
    random = np.random.default_rng(seed)
    while True:
        chosen = zip(random.integers(len(users), size=1000), random.random(1000), strict=True)
        yield from ((users[user], items[int(len(items) * place**2)], "view") for user, place in chosen)


def fresh_events(drawn: Iterator[Choice]) -> Iterator[dict[str, str]]:
    """Events that happen now."""
    for choice in drawn:
        yield _event(choice, datetime.now(UTC))


def fixed_events(drawn: Iterator[Choice]) -> Iterator[dict[str, str]]:
    """The same events in every run, a millisecond apart, on a day that is over."""
    for number, choice in enumerate(drawn):
        yield _event(choice, datetime(2026, 2, 1, tzinfo=UTC) + timedelta(milliseconds=number))


def awkward_events(drawn: Iterator[Choice]) -> Iterator[tuple[Kind, dict[str, str]]]:
    """Fixed events as sources send them, each with its kind, which follows from its place alone."""
    for number, event in enumerate(fixed_events(drawn)):
        place = number % 10
        if place == 2:
            late = datetime.fromisoformat(event["event_at"]) - timedelta(days=1)
            yield "late", event | {"event_at": late.isoformat()}
            continue
        yield "new", event
        if place == 5:
            yield "again", event
        if place == 8:
            yield "bad", event | {"event_type": "unheard of"}


def kinds_of(sent: int) -> Counter[Kind]:
    """How many of so many awkward events are of each kind."""
    return Counter(kind for kind, _ in islice(awkward_events(choices(["u"], ["i"], 1)), sent))


def send(
    sender: "redis.Redis",
    stream: str,
    events: Iterator[dict[str, str]],
    rate: float,
    seconds: float,
    stop: threading.Event,
    *,
    has_ids: bool,
) -> dict[str, float]:
    """Send `rate * seconds` events on schedule; returns what was sent and how far behind the latest tick was."""
    total, sent, latest = round(rate * seconds), 0, 0.0
    begun = time.monotonic()
    while sent < total and not stop.is_set():
        due = min(total, int((time.monotonic() - begun) * rate))
        pipeline = sender.pipeline(transaction=False)
        latest = max(latest, (due - sent) / rate - TICK_S)
        for number in range(sent + 1, due + 1):
            pipeline.xadd(stream, {"event": json.dumps(next(events))}, id=f"{number}-1" if has_ids else "*")
        pipeline.execute()
        sent = due
        time.sleep(max(0.0, TICK_S - (time.monotonic() - begun) % TICK_S))
    return {"sent": sent, "seconds": round(time.monotonic() - begun, 1), "latest_tick_s": round(latest, 3)}


def _event(choice: Choice, at: datetime) -> dict[str, str]:
    user, item, kind = choice
    return {"user_id": user, "item_id": item, "event_type": kind, "event_at": at.isoformat()}


if __name__ == "__main__":
    main()
