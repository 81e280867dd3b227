"""A promotion beside a lane at work: the next server is loaded while the present one makes lists."""

import threading
from datetime import datetime
from typing import Any

import pytest

from assets import serving
from assets.batch_report import BatchReport
from assets.domain import load_domain
from assets.nearline_watch import LakeWatch
from assets.pseudonyms import pseudonymise
from assets.resources import ArtifactResource
from assets.serving import Server
from models.errors import PositionMovedError
from models.recommender import Recommender
from orchestration.nearline_lane import open_lane, open_watch

NOW = datetime(2026, 1, 8, 12)


def _process(market: Any, watch: LakeWatch, user: str = "") -> BatchReport:
    rows = [f"{user},i00,purchase,2026-01-04T09:00:00Z,1"]
    delivery = market.delivery(f"{user}.csv", rows) if user else None
    return open_lane(market.settings, watch, now=lambda: NOW).process(delivery, received_at=NOW, epoch=1)


def _versions(market: Any) -> set[str]:
    return set(market.lake.frame("SELECT DISTINCT model_version FROM serving.top_k")["model_version"])


def _renew(market: Any, watch: LakeWatch) -> None:
    """Until no list is left, as the worker does between two batches."""
    while watch.left:
        _process(market, watch)


@pytest.fixture
def may_load(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Servers are loaded in other threads once it is set, and at once in this one."""
    event, load, here = threading.Event(), Server.load, threading.get_ident()

    def held(*arguments: Any) -> Server:
        assert threading.get_ident() == here or event.wait(60)
        return load(*arguments)

    monkeypatch.setattr(Server, "load", held)
    return event


def test_lists_are_made_with_the_old_model_until_the_new_one_is_there(market: Any, may_load: threading.Event) -> None:
    watch = open_watch(market.settings)
    old = _process(market, watch, "u07").model_version
    new = market.promote()
    assert _process(market, watch, "u08").model_version == old
    assert _process(market, watch, "u09").model_version == old
    assert _versions(market) == {old, new}
    may_load.set()
    market.wait_until(lambda: watch.refresh().server.model_version == new)
    report = _process(market, watch, "u10")
    _renew(market, watch)
    assert (report.model_version, _versions(market)) == (new, {new})
    by_delta = market.lists()
    market.build()
    market.publish(watch.refresh().server, report.as_of)
    assert market.lists() == by_delta
    watch.close()


def test_what_is_promoted_while_a_server_is_loaded_is_not_mixed_in(
    market: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, promoted = serving.load_champion, []

    def overtaken(*arguments: Any, **named: Any) -> Recommender:
        champion = load(*arguments, **named)
        monkeypatch.setattr(serving, "load_champion", load)
        promoted.append(market.promote())
        return champion

    (old,) = _versions(market)
    monkeypatch.setattr(serving, "load_champion", overtaken)
    artifacts = ArtifactResource(path=str(market.settings.artifacts_path))
    server = Server.load(market.lake, load_domain(market.settings.domain), artifacts)
    assert server.model_version == server.index.model_version == old
    assert promoted[0] != old


def test_who_leads_next_renews_what_was_made_while_a_model_was_loaded(market: Any, may_load: threading.Event) -> None:
    watch = open_watch(market.settings)
    _process(market, watch, "u07")
    new = market.promote()
    _process(market, watch, "u08")
    assert len(_versions(market)) == 2
    may_load.set()
    watch.close()
    successor = open_watch(market.settings)
    assert _process(market, successor).model_version == new
    _renew(market, successor)
    assert _versions(market) == {new}


def test_a_leader_that_slept_does_not_undo_what_its_successor_made(market: Any) -> None:
    slept = open_watch(market.settings)
    _process(market, slept, "u07")
    slept.leave([pseudonymise("u07", "freshet-demo-key")])
    made = list[dict[str, str]]()

    def sleep(stage: str) -> None:
        if stage == "loaded" and not made:
            delivery = market.delivery("later.csv", ["u07,i03,purchase,2026-01-04T10:00:00Z,1"])
            open_lane(market.settings, open_watch(market.settings), now=lambda: NOW).process(
                delivery, received_at=NOW, epoch=2
            )
            made.append(market.lists())

    lane = open_lane(market.settings, slept, now=lambda: NOW, on_stage=sleep)
    with pytest.raises(PositionMovedError, match="another worker has made lists of 1 of these users"):
        lane.process(None, received_at=NOW, epoch=1)
    assert market.lists() == made[0]
    assert slept.left == 1
    _renew(market, slept)
    assert market.lists() == made[0]
