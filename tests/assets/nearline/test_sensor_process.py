"""The sensor path with Dagster's own daemon: a file that lands is in its user's list, where no worker leads."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from assets.lease import Lease, nearline_lease
from orchestration.commands.child_processes import ChildProcesses, Service

from .market import move_leader

pytestmark = pytest.mark.slow

ROWS = [f"u07,i{item:02d},purchase,2026-01-04T09:00:00Z,1" for item in (0, 1)]
LATER_ROWS = [f"u08,i{item:02d},purchase,2026-01-04T10:00:00Z,1" for item in (2, 3)]
PATIENCE_S = 400


def environment(market: Any) -> dict[str, str]:
    settings = market.settings
    own = {
        "FRESHET_HOME": str(settings.root),
        "DAGSTER_HOME": str(settings.dagster_home),
        "FRESHET_SETTLE_SECONDS": "0",
        "FRESHET_NEARLINE_LINGER_S": "0",
    }
    return {**os.environ, **own}


def program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


@pytest.fixture
def daemon(market: Any, tmp_path: Path) -> Iterator[Callable[[Callable[[], bool]], None]]:
    """Dagster's daemon with the sensor; called, it waits for what its runs are to do."""
    with ChildProcesses(tmp_path, environment(market)) as children:
        command = [program("dagster-daemon"), "run", "-m", "orchestration.nearline_definitions"]
        children.start(Service("daemon", command, "", ""))

        def wait(is_so: Callable[[], bool]) -> None:
            deadline = time.monotonic() + PATIENCE_S
            while not is_so():
                children.check()
                assert time.monotonic() < deadline, (tmp_path / "daemon.log").read_text()[-5_000:]
                time.sleep(0.5)

        yield wait


@contextmanager
def worker(market: Any) -> Iterator["subprocess.Popen[bytes]"]:
    command = [program("freshet"), "nearline", "--port", "0"]
    process = subprocess.Popen(command, env=environment(market), stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def leader(lease: Lease) -> int | None:
    """Process that leads."""
    term = lease.leader(time.time())
    return None if term is None else int(term.holder.split(":")[1])


def events(market: Any) -> int:
    return int(market.lake.frame("SELECT count(*) AS n FROM raw.events")["n"].item())


def fresh_lists(market: Any) -> list[tuple[int, datetime]]:
    """Events and time of commit of each list that was renewed, in the order of the commits."""
    rows = market.lake.frame("SELECT events, committed_at FROM ops.list_freshness ORDER BY committed_at")
    return [(int(count), moment.to_pydatetime()) for count, moment in rows.itertuples(index=False)]


def test_a_file_reaches_the_list_of_its_user_by_the_daemon_alone(market: Any, daemon: Any) -> None:
    market.land("a.csv", ROWS)
    daemon(lambda: bool(fresh_lists(market)))
    assert market.lake.frame("FROM ops.list_freshness")["source"].tolist() == ["landing"]
    assert not market.item_ids("u07") & {"i00", "i01"}
    assert events(market) == 122


def test_the_daemon_goes_on_where_a_worker_was_killed_once_its_lease_has_run_out(market: Any, daemon: Any) -> None:
    lease = nearline_lease(market.lake)
    with worker(market) as process:
        daemon(lambda: leader(lease) == process.pid)
        market.land("a.csv", ROWS)
        daemon(lambda: bool(fresh_lists(market)))
        assert leader(lease) == process.pid
        process.send_signal(signal.SIGKILL)
        process.wait()
    # On the machine of a leader its death is seen at once; anywhere else the lease has to run out.
    move_leader(lease)
    left = lease.leader(time.time())
    assert left is not None
    market.land("b.csv", LATER_ROWS)
    daemon(lambda: len(fresh_lists(market)) > 1)
    (_, (_, committed_at)) = lists = fresh_lists(market)
    assert committed_at.replace(tzinfo=UTC).timestamp() > left.expires_at
    assert [count for count, _ in lists] == [2, 2]
    assert events(market) == 124
    assert not market.item_ids("u07") & {"i00", "i01"}
    assert not market.item_ids("u08") & {"i02", "i03"}
    daemon(lambda: leader(lease) is None)
