"""A worker and refreshes as processes on one home folder with PostgreSQL as catalogue, from an empty lake on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from assets.lake import Lake
from assets.pseudonyms import pseudonymise
from assets.sources.demo.config import DemoConfig
from assets.sources.demo.generate import generate
from orchestration.home import open_lake
from orchestration.settings import Settings, load_settings, write_home_file

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(3_600)]

LONGEST_S = 1_500.0
KEY = "freshet-demo-key"
USERS, ITEMS, DAYS = 40, 50, 4
YESTERDAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None) - timedelta(days=1)
"""Day of the events that are landed one by one; those of the market come before it."""
DOMAIN = """
segment_by = "age_band"
top_k = 5
[event_weights]
view = 1.0
click = 1.0
cart = 2.0
purchase = 4.0
[pretraining]
steps = 1
head_steps = 1
[finetuning]
steps = 1
[recommender]
retrievers = ["popularity"]
"""
"""Popularity alone, which the gate never finds worse than popularity; weights fitted on the few users of a market that
follows from the date may be."""


@pytest.fixture(scope="module")
def catalogue(new_database: Callable[[str], str]) -> str:
    """A database of its own, dropped at the end."""
    return f"postgres:dbname={new_database('beside')} host=127.0.0.1 user=postgres"


@dataclass
class Home:
    """A home folder that processes work on, and the events that were landed there one by one."""

    settings: Settings
    item_ids: list[str]
    landed: list[tuple[str, datetime]] = field(default_factory=list)
    """User of the source and moment of each."""

    @property
    def lake(self) -> Lake:
        return open_lake(self.settings)

    def land(self, number: int) -> None:
        """Two events in a file of their own, whole at once."""
        users = [f"extra-{(number + turn) % 7}" for turn in range(2)]
        at = YESTERDAY + timedelta(seconds=number)
        rows = [f"{user},{self.item_ids[number % len(self.item_ids)]},view,{at:%Y-%m-%dT%H:%M:%SZ}" for user in users]
        file = self.settings.landing_path / "events" / f"extra-{number:05d}.csv"
        unfinished = file.with_name(f".{file.name}")
        unfinished.write_text("\n".join(["user_id,item_id,event_type,event_at", *rows, ""]))
        unfinished.replace(file)
        self.landed += [(pseudonymise(user, KEY), at) for user in users]

    def land_soon(self, number: int) -> None:
        """The same after a while, so that some three files a second come when it is repeated."""
        time.sleep(0.3)
        self.land(1 + number)

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        """Start a command of Freshet; what it says goes to a file."""
        with (self.settings.root.parent / f"{words[0]}.log").open("ab") as log:
            return subprocess.Popen(
                [str(Path(sys.executable).with_name("freshet")), *words],
                env={**os.environ, "FRESHET_HOME": str(self.settings.root), "FRESHET_SETTLE_SECONDS": "0"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def said(self, word: str) -> str:
        """What the processes of a command have said."""
        return (self.settings.root.parent / f"{word}.log").read_text()

    def taken_in(self) -> list[tuple[str, datetime]]:
        """User and moment of each raw event of that day, in order."""
        sql = "SELECT user_id, event_at FROM raw.events WHERE event_at >= ? ORDER BY user_id, event_at"
        frame = self.lake.frame(sql, [YESTERDAY])
        return list(zip(frame["user_id"], frame["event_at"].dt.to_pydatetime(), strict=True))


@pytest.fixture
def home(catalogue: str, tmp_path: Path) -> Home:
    """A tiny market that has landed, and nothing built."""
    domain = tmp_path / "market.toml"
    domain.write_text(DOMAIN)
    first_day = (YESTERDAY - timedelta(days=DAYS)).date()
    values = {"domain": str(domain), "catalogue": catalogue, "first_day": first_day, "last_day": YESTERDAY.date()}
    write_home_file(tmp_path / "home", values)
    settings = load_settings(home=tmp_path / "home", settle_seconds=0.0)
    generate(settings.landing_path, DemoConfig(users=USERS, items=ITEMS, days=DAYS, first_day=first_day, days_from=0))
    (items,) = (settings.landing_path / "items").glob("*.jsonl")
    return Home(settings, [orjson.loads(line)["item_id"] for line in items.read_text().splitlines()])


def test_a_worker_and_refreshes_at_once_lose_and_repeat_nothing(home: Home, repeating: Any) -> None:
    home.land(0)
    worker = home.start("nearline", "--port", "0")
    try:
        assert home.start("run").wait(LONGEST_S) == 0, home.said("run")
        with repeating(home.land_soon):
            assert home.start("run").wait(LONGEST_S) == 0, home.said("run")
        _wait(lambda: len(home.taken_in()) >= len(home.landed), home)
        _wait(lambda: _users(home) <= set(home.lake.frame("SELECT user_id FROM serving.top_k")["user_id"]), home)
        assert worker.poll() is None, home.said("nearline")
    finally:
        worker.send_signal(signal.SIGTERM)
        ended = worker.wait(LONGEST_S)
    assert ended == 0, home.said("nearline")
    assert "Traceback" not in home.said("nearline")
    assert home.taken_in() == sorted(home.landed)
    owners = home.lake.frame("SELECT user_id, lane FROM serving.top_k")
    assert owners["user_id"].is_unique
    assert _users(home) <= set(owners["user_id"])
    assert set(owners["lane"]) == {"batch", "nearline"}


def _users(home: Home) -> set[str]:
    """Users of the market and of what was landed beside it."""
    built = home.lake.frame("SELECT DISTINCT user_id FROM marts.interactions")["user_id"]
    return {*built, *(user for user, _ in home.landed)}


def _wait(is_so: Callable[[], bool], home: Home) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not is_so():
        assert time.monotonic() < deadline, home.said("nearline")[-3_000:]
        time.sleep(0.5)
