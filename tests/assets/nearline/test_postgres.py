"""With PostgreSQL as catalogue: batch and nearline at the same time, and a connection that is cut."""

import random
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import psycopg2
import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SERVER = "postgresql://postgres@127.0.0.1:5432"
ROUNDS, CUTS = 3, 4


@pytest.fixture(scope="module")
def database(new_database: Callable[[str], str]) -> str:
    """A database of its own, dropped at the end."""
    return new_database("nearline")


@pytest.fixture(scope="module")
def market(database: str, market_on: Any) -> Iterator[Any]:
    with market_on(f"postgres:dbname={database} host=127.0.0.1 user=postgres") as made:
        yield made


def _land(market: Any, name: str, batch: int, *, minute: int) -> None:
    """Land five events; tests give different minutes, since the lake knows files by their content."""
    at = minute + batch
    rows = [f"u{user:02d},i{(user + batch) % 20:02d},view,2026-01-04T0{user}:{at:02d}:00Z," for user in range(5)]
    market.land(f"{name}{batch}.csv", rows)


def _accepted(market: Any, name: str) -> int:
    sql = "SELECT coalesce(sum(rows_accepted), 0) AS n FROM ops.files WHERE starts_with(file_name, ?)"
    return int(market.lake.frame(sql, [f"events/{name}"])["n"].item())


def test_batch_and_nearline_write_at_the_same_time(market: Any, start_worker: Any) -> None:
    with start_worker(market) as run:
        for batch in range(ROUNDS):
            _land(market, "both", batch, minute=0)
            # Builds and publishes everything, as a refresh does; an error of it would reach the user.
            market.build()
            market.publish()
        market.wait_until(lambda: _accepted(market, "both") == 5 * ROUNDS)
        market.wait_until(lambda: _is_at_rest(market, run))
    by_delta = market.lists()
    market.build()
    market.publish(as_of=datetime(2026, 1, 5))
    assert market.lists() == by_delta


def test_connections_that_are_cut_at_random_moments_lose_nothing(market: Any, start_worker: Any, database: str) -> None:
    before, moments = _renewed(market), random.Random(7)
    killer = psycopg2.connect(f"{SERVER}/postgres")
    killer.autocommit = True
    with start_worker(market) as run, killer.cursor() as cursor:
        market.wait_until(lambda: bool(run.worker.health()["leads"] and run.worker.health()["snapshot"]))
        for batch in range(ROUNDS):
            _land(market, "cut", batch, minute=30)
            for _ in range(CUTS):
                time.sleep(moments.uniform(0, 0.5))
                cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database])
            market.wait_until(lambda batch=batch: _accepted(market, "cut") == 5 * (batch + 1))
        market.wait_until(lambda: bool(run.worker.health()["is_well"]))
        market.wait_until(lambda: _is_at_rest(market, run))
    killer.close()
    events = market.lake.frame("SELECT count(*) AS n, count(DISTINCT event_id) AS ids FROM raw.events")
    assert events["n"].item() == events["ids"].item()
    assert _renewed(market) - before == 5 * ROUNDS
    by_delta = market.lists()
    market.build()
    market.publish(as_of=datetime(2026, 1, 5))
    assert market.lists() == by_delta


def _is_at_rest(market: Any, run: Any) -> bool:
    """Whether the worker knows the newest snapshot and has no list left to renew."""
    watch = run.worker._watch
    is_level = watch.snapshot == market.lake.current_snapshot() and not watch.is_behind
    return bool(is_level and watch.left == 0 and watch.snapshot)


def _renewed(market: Any) -> int:
    """Lists that landed events renewed."""
    return int(market.lake.frame("SELECT count(*) AS n FROM ops.list_freshness WHERE source = 'landing'")["n"].item())
