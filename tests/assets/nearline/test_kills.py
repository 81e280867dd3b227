"""A worker that is killed with SIGKILL at any boundary, and run again, leaves the tables of an undisturbed run."""

import signal
import subprocess
import sys
from datetime import datetime
from typing import Any

import pytest

from assets.nearline import STAGES
from orchestration.nearline_lane import open_lane, open_watch

NOW = datetime(2026, 1, 8, 12)
ROWS = [
    [
        f"u{user:02d},i{(user * 3 + batch) % 20:02d},purchase,2026-01-0{4 + batch}T0{user % 10}:00:00Z,1"
        for user in range(4)
    ]
    for batch in range(2)
]

_WORKER = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from assets.nearline import STAGES
from assets.streams.landing import LandingSource
from orchestration.home import open_lake
from orchestration.nearline_lane import open_lane, open_watch
from orchestration.settings import load_settings

home, fatal, turn = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
now = datetime(2026, 1, 8, 12)
passed = []

def on_stage(stage):
    passed.append(stage)
    if passed.count(fatal) == turn:
        os.kill(os.getpid(), signal.SIGKILL)

settings = load_settings(home=home, settle_seconds=0.0)
lake = open_lake(settings)
source = LandingSource(lake, settings.landing_path, settle_seconds=-1e9, max_bytes=10**7, clock=lambda: now)
source.resume({})
lane = open_lane(settings, open_watch(settings), now=lambda: now, on_stage=on_stage)
while (delivery := source.poll(1000, 0)) is not None:
    on_stage("polled")
    lane.process(delivery, received_at=now, epoch=1)
    source.acknowledge(delivery)
    on_stage("acknowledged")
"""


def _land(market: Any) -> None:
    for number, rows in enumerate(ROWS):
        market.land(f"{number}.csv", [*rows, "u00,,view,2026-01-04T00:00:00Z,"])


def _drain(market: Any) -> None:
    lane, source = open_lane(market.settings, open_watch(market.settings), now=lambda: NOW), market.source()
    while (delivery := source.poll(1000, 0)) is not None:
        lane.process(delivery, received_at=NOW, epoch=1)
        source.acknowledge(delivery)


@pytest.fixture(scope="module")
def undisturbed(built_market: Any) -> tuple[dict[str, str], dict[str, str]]:
    built_market.begin_again()
    _land(built_market)
    _drain(built_market)
    return built_market.tables(), built_market.lists()


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "turn"), [*((stage, 1) for stage in (*STAGES, "acknowledged")), ("advanced", 2)])
def test_a_kill_at_any_boundary_changes_nothing(
    market: Any, undisturbed: tuple[dict[str, str], dict[str, str]], stage: str, turn: int
) -> None:
    _land(market)
    killed = subprocess.run(
        [sys.executable, "-c", _WORKER, str(market.settings.root), stage, str(turn)], check=False, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    _drain(market)
    assert (market.tables(), market.lists()) == undisturbed
