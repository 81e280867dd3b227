"""A catalogue that is kept open keeps its write-ahead log, whoever comes and goes."""

import subprocess
import sys
from pathlib import Path

import psutil

from assets.catalogue_keeper import kept_open
from assets.lake import Lake

_HOLDER = """
import sys, time
from assets.catalogue_keeper import kept_open
with kept_open(sys.argv[1]):
    print("kept", flush=True)
    time.sleep(600)
"""


def _log(lake: Lake) -> Path:
    return Path(lake.catalogue.removeprefix("sqlite:") + "-wal")


def _write(lake: Lake) -> None:
    lake.write(lambda c: c.execute("INSERT INTO ops.pending_days VALUES (DATE '2026-01-01', 1)"), message="x")


def test_nobody_is_the_last_to_close_a_catalogue_that_is_kept_open(lake: Lake) -> None:
    _write(lake)
    assert not _log(lake).exists()
    with kept_open(lake.catalogue):
        _write(lake)
        assert _log(lake).stat().st_size > 0
        assert lake.frame("SELECT count(*) AS n FROM ops.pending_days")["n"].tolist() == [2]
    _write(lake)
    assert not _log(lake).exists()
    assert psutil.Process().children() == []


def test_the_keeper_of_a_killed_process_ends(lake: Lake) -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLDER, lake.catalogue], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"kept\n"
        (keeper,) = psutil.Process(holder.pid).children()
        holder.kill()
    keeper.wait(30)


def test_a_catalogue_on_a_server_needs_no_keeper() -> None:
    with kept_open("postgres:dbname=anything"):
        assert psutil.Process().children() == []
