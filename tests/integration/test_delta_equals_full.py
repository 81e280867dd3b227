"""Delta equals full for every user of the built market, with the texts and retrievers of a real home.

The lake is put back afterwards, so the tests of other files find the home as they left it.
"""

import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from assets.delta_check import References, compare_with_full
from assets.domain import load_domain
from assets.resources import ArtifactResource
from assets.serving import Server
from assets.sources.demo.config import DemoConfig
from assets.sources.demo.generate import generate
from assets.streams.landing import LandingSource
from orchestration.nearline_lane import open_lane, open_watch
from orchestration.settings import Settings

pytestmark = pytest.mark.slow

DAYS = 10
"""Days of the market up to the one that is taken in; no other test lands the last of them."""
NOW = datetime(2026, 1, 20)


@pytest.fixture
def borrowed_home(built_home: Any) -> Iterator[Any]:
    """The built home; DuckLake knows its data by an absolute path, so the lake is kept and put back, never moved."""
    lake = built_home.settings.lake_folder
    kept = shutil.copytree(lake, lake.with_name("kept"))
    yield built_home
    shutil.rmtree(lake)
    kept.rename(lake)


def _take_in(settings: Settings, landing: Path) -> None:
    """All files of events of a landing zone through the nearline lane, until no list is left to be renewed."""
    watch = open_watch(settings)
    lane = open_lane(settings, watch, now=lambda: NOW)
    source = LandingSource(watch.lake, landing, settle_seconds=-1e9, max_bytes=10**9, clock=lambda: NOW)
    source.resume({})
    while (delivery := source.poll(10_000, 0)) is not None:
        lane.process(delivery, received_at=NOW, epoch=1)
        source.acknowledge(delivery)
    watch.refresh()
    while watch.left:
        lane.process(None, received_at=NOW, epoch=1)


def _references(settings: Settings) -> References:
    watch = open_watch(settings)
    nearline = watch.refresh().server
    artifacts = ArtifactResource(path=str(settings.artifacts_path))
    batch = Server.load(watch.lake, load_domain(settings.domain), artifacts)
    return References(batch, nearline, watch.rules, watch.as_of)


def test_after_a_day_through_the_nearline_lane_every_list_is_the_one_made_in_full(
    borrowed_home: Any, tmp_path: Path
) -> None:
    settings, lake = borrowed_home.settings, borrowed_home.lake
    generate(tmp_path, DemoConfig(users=120, items=100, days=DAYS, days_from=DAYS - 1))
    _take_in(settings, tmp_path)
    lists = lake.frame("SELECT user_id, lane FROM serving.top_k")
    users = set(lake.frame("SELECT user_id FROM marts.users")["user_id"])
    assert len(users) > 100
    assert lists["user_id"].is_unique
    assert users <= set(lists["user_id"])
    assert (lists["lane"] == "nearline").sum() > 10
    found = compare_with_full(lake, _references(settings), seed=0, sampled=len(lists))
    assert (found.compared, found.differing, found.left_out) == (len(lists), (), {})
