"""The worker's loop in this process: a store that is locked, two leaders at once, a champion that changes."""

import subprocess
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
from pydantic import SecretStr

from assets.batch_report import BatchReport
from assets.landing_zone import LandingZone
from assets.lease import Lease
from assets.nearline import NearlineLane
from assets.nearline_commit import RowCounts
from assets.streams.landing import LandingSource
from models.errors import PositionMovedError, SourceUnavailableError
from models.nearline import Position
from orchestration import nearline_worker
from orchestration.nearline_assembly import build_worker
from orchestration.nearline_metrics import NearlineMetrics
from orchestration.nearline_report import ReportThread
from orchestration.nearline_worker import IDLE_S, STANDBY_S

from .market import move_leader

FILES = {
    f"{batch}.csv": [
        f"u{user:02d},i{(user * 3 + batch) % 20:02d},purchase,2026-01-04T0{user}:0{batch}:00Z,1" for user in range(4)
    ]
    for batch in range(3)
}
# Holds the catalogue's lock, as a program that somebody forgot would; SQLite's locks are those of a process.
_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
"""


def land_all(market: Any) -> None:
    for name, rows in FILES.items():
        market.land(name, rows)


def accepted(market: Any) -> int:
    sql = "SELECT coalesce(sum(rows_accepted), 0) AS n FROM ops.files WHERE file_name IN (SELECT unnest(?::VARCHAR[]))"
    return int(market.lake.frame(sql, [[f"events/{name}" for name in FILES]])["n"].item())


@pytest.fixture(scope="module")
def undisturbed(built_market: Any) -> tuple[dict[str, str], dict[str, str]]:
    built_market.begin_again()
    land_all(built_market)
    assert build_worker(built_market.settings, NearlineMetrics(), report=lambda report: None).run(
        threading.Event(), until_idle=True
    )
    assert accepted(built_market) == 12
    return built_market.tables(), built_market.lists()


@contextmanager
def locked_catalogue(market: Any) -> Iterator[None]:
    file = market.settings.lake_catalogue.removeprefix("sqlite:")
    with subprocess.Popen(
        [sys.executable, "-c", _LOCK, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"locked\n"
        try:
            yield
        finally:
            process.stdin.close()


def test_a_catalogue_that_is_locked_for_a_while_changes_nothing(
    market: Any, start_worker: Any, undisturbed: tuple[dict[str, str], dict[str, str]]
) -> None:
    with start_worker(market) as run:
        market.wait_until(lambda: bool(run.worker.health()["leads"]))
        with locked_catalogue(market):
            land_all(market)
            market.wait_until(lambda: not run.worker.health()["is_well"])
        market.wait_until(lambda: len(run.reports) == 3)
    assert (market.tables(), market.lists()) == undisturbed


def test_two_leaders_at_once_do_nothing_twice(
    market: Any, start_worker: Any, undisturbed: tuple[dict[str, str], dict[str, str]]
) -> None:
    # A lease file of its own each, as where two hosts do not see the same disk.
    leases = [Lease(market.settings.root / f"lease{number}.sqlite", "nearline", 15.0) for number in range(2)]
    with start_worker(market, leases[0]) as first, start_worker(market, leases[1]) as second:
        market.wait_until(lambda: bool(first.worker.health()["leads"] and second.worker.health()["leads"]))
        land_all(market)
        market.wait_until(lambda: len(first.reports) + len(second.reports) >= 3)
        market.wait_until(lambda: accepted(market) == 12)
    assert (market.tables(), market.lists()) == undisturbed
    assert sum(report.counts.accepted for report in [*first.reports, *second.reports]) == 12


def test_a_source_that_is_gone_when_its_position_moved_is_read_on_by_the_next_leader(
    market: Any, start_worker: Any, undisturbed: tuple[dict[str, str], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, resume, moved, resumed = NearlineLane.process, LandingSource.resume, [], []

    def overtaken(*arguments: Any, **named: Any) -> BatchReport:
        if not moved and arguments[1] is not None:
            moved.append(arguments[1].source)
            raise PositionMovedError("another worker has read it")
        return process(*arguments, **named)

    def gone_once(source: LandingSource, position: Position) -> None:
        resumed.append(source.name)
        if moved and len(resumed) == 3:
            raise SourceUnavailableError("gone")
        resume(source, position)

    monkeypatch.setattr(NearlineLane, "process", overtaken)
    monkeypatch.setattr(LandingSource, "resume", gone_once)
    with start_worker(market) as run:
        market.wait_until(lambda: bool(run.worker.health()["leads"]))
        land_all(market)
        market.wait_until(lambda: len(run.reports) == 3)
        assert run.worker.health()["epoch"] == 2
    assert (market.tables(), market.lists()) == undisturbed
    assert len(resumed) == 5


def test_a_worker_whose_batch_hangs_leads_no_longer_and_goes_on_when_it_can(
    market: Any, start_worker: Any, undisturbed: tuple[dict[str, str], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearline_worker, "LONGEST_STEP_S", 1.0)
    lease = Lease(market.settings.root / "lease.sqlite", "nearline", 1.0)
    with start_worker(market, lease) as run:
        market.wait_until(lambda: bool(run.worker.health()["snapshot"]))
        # Whoever writes holds this lock; a batch waits for it for two minutes.
        with market.lake.lock():
            land_all(market)
            market.wait_until(lambda: lease.leader(time.time()) is None)
        market.wait_until(lambda: len(run.reports) == 3)
        market.wait_until(lambda: lease.leader(time.time()) is not None)
        assert run.worker.health()["epoch"] == 1
    assert (market.tables(), market.lists()) == undisturbed


def test_a_worker_that_stands_by_is_well(market: Any, start_worker: Any) -> None:
    lease = Lease(market.settings.root / "lease.sqlite", "nearline", 60.0)
    assert lease.take(time.time()) is not None
    move_leader(lease)
    with start_worker(market, lease) as run:
        time.sleep(3 * STANDBY_S)
        health = run.worker.health()
    assert (health["is_well"], health["leads"], health["epoch"]) == (True, False, None)


def test_a_new_champion_is_taken_up_without_a_stop(market: Any, start_worker: Any) -> None:
    with start_worker(market) as run:
        market.land("0.csv", FILES["0.csv"])
        market.wait_until(lambda: len(run.reports) == 1)
        version = market.promote()
        # Its lists are ahead of the batch lane, so it makes them again; none is left with the old champion.
        market.wait_until(lambda: set(_versions(market)) == {version})
        market.land("1.csv", FILES["1.csv"])
        market.wait_until(lambda: run.reports[-1].source == "landing" and len(run.reports) >= 3)
    assert run.reports[0].model_version != version
    assert run.reports[-1].model_version == version
    assert set(_versions(market)) == {version}


def test_a_source_that_does_not_answer_is_waited_for_unless_it_is_read_once(market: Any, start_worker: Any) -> None:
    address = SecretStr("redis://127.0.0.1:1/0")
    settings = market.settings.model_copy(update={"nearline_redis_url": address})
    with pytest.raises(SourceUnavailableError, match="FRESHET_NEARLINE_REDIS_URL"):
        build_worker(settings, NearlineMetrics(), report=lambda report: None).run(threading.Event(), until_idle=True)
    with start_worker(Namespace(settings=settings)) as run:
        market.wait_until(lambda: not run.worker.health()["is_well"])
        market.wait_until(lambda: "Redis does not answer" in run.worker.health()["last_error"])


def test_a_report_is_written_off_the_path_and_none_is_lost() -> None:
    written: list[int] = []
    may_write = threading.Event()

    def write(report: BatchReport) -> None:
        may_write.wait(10)
        written.append(report.snapshot)

    with ReportThread(write) as report:
        for snapshot in range(5):
            report(_report(snapshot))
        assert written == []
        may_write.set()
    assert written == [0, 1, 2, 3, 4]


def _versions(market: Any) -> list[str]:
    return market.lake.frame("SELECT DISTINCT model_version FROM serving.top_k")["model_version"].tolist()


def _report(snapshot: int) -> BatchReport:
    return BatchReport("landing", RowCounts(0, 0, 0, 0), 0, snapshot, "", "", datetime.min, datetime.min, (), ())


def test_a_worker_that_waits_for_files_looks_for_them_ten_times_a_second_at_most(
    market: Any, start_worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, found = [], LandingZone.found
    monkeypatch.setattr(LandingZone, "found", lambda zone, kind: looks.append(kind) or found(zone, kind))
    with start_worker(market) as run:
        market.wait_until(lambda: bool(run.worker.health()["snapshot"]))
        looks.clear()
        time.sleep(3)
        assert 1 <= looks.count("events") <= 3 / IDLE_S + 1
        land_all(market)
        market.wait_until(lambda: accepted(market) == 12)
