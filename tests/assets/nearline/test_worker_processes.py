"""`freshet nearline` as processes: the second takes over from one that is killed, and SIGTERM ends a batch first."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from assets.lease import nearline_lease

pytestmark = pytest.mark.slow

START_S = 500.0


@pytest.fixture
def start(market: Any) -> Iterator[Callable[[], "subprocess.Popen[bytes]"]]:
    """Starts workers; those that live at the end are killed."""
    running: list[subprocess.Popen[bytes]] = []
    environment = {**os.environ, "FRESHET_HOME": str(market.settings.root), "FRESHET_SETTLE_SECONDS": "0"}

    def one() -> "subprocess.Popen[bytes]":
        words = [str(Path(sys.executable).with_name("freshet")), "nearline", "--port", "0"]
        running.append(subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL))
        return running[-1]

    yield one
    for process in running:
        process.kill()
        process.wait()


def test_another_worker_takes_over_and_a_signal_ends_it_well(market: Any, start: Any) -> None:
    workers = {worker.pid: worker for worker in (start(), start())}
    first = _leader(market)
    market.land("0.csv", ["u01,i01,purchase,2026-01-04T01:00:00Z,1"])
    _wait(lambda: _rows(market) == 1)
    workers[first].send_signal(signal.SIGKILL)
    market.land("1.csv", ["u02,i02,purchase,2026-01-04T02:00:00Z,1"])
    _wait(lambda: _rows(market) == 2)
    second = _leader(market)
    assert {first, second} == set(workers)
    # Landed just before the signal: either all of it is in the lake, or nothing.
    market.land("2.csv", [f"u{user:02d},i03,purchase,2026-01-04T03:00:00Z,1" for user in range(10)])
    workers[second].send_signal(signal.SIGTERM)
    assert workers[second].wait(START_S) == 0
    assert _rows(market) in (2, 12)
    assert nearline_lease(market.lake).leader(time.time()) is None
    fresh = market.lake.frame("SELECT count(*) AS n FROM ops.list_freshness")["n"].item()
    assert fresh == _rows(market)


def test_a_worker_that_takes_in_what_is_there_tells_what_it_did(market: Any) -> None:
    rows = ["u01,i01,purchase,2026-01-04T01:00:00Z,1", "u01,i02,purchase,2026-01-04T02:00:00Z,1"]
    market.land("0.csv", [*rows, rows[0], "u00,,view,2026-01-04T00:00:00Z,"])
    words = [str(Path(sys.executable).with_name("freshet")), "nearline", "--once", "--port", "0"]
    environment = {**os.environ, "FRESHET_HOME": str(market.settings.root), "FRESHET_SETTLE_SECONDS": "0"}
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=START_S, check=True)
    said = ended.stderr.splitlines()
    assert said[-1] == "4 rows taken in: 2 accepted, 1 in quarantine, 1 repeated; lists renewed: 1"
    assert not [line for line in said if "alembic" in line or "faiss" in line]


def _leader(market: Any) -> int:
    """Process that leads."""
    lease = nearline_lease(market.lake)
    _wait(lambda: lease.leader(time.time()) is not None)
    term = lease.leader(time.time())
    assert term is not None
    return int(term.holder.split(":")[1])


def _rows(market: Any) -> int:
    sql = "SELECT count(*) AS n FROM raw.events WHERE event_day = DATE '2026-01-04'"
    return int(market.lake.frame(sql)["n"].item())


def _wait(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_S
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
