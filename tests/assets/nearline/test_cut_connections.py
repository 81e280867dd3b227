"""A source whose connections are cut while it is read loses nothing and brings nothing twice."""

import json
import random
import time
from argparse import Namespace
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis
from pydantic import SecretStr

from .streams import events, listens

DATABASE = 13
"""No other test reads from it, so its clients are those of this one."""
SERVER = "redis://127.0.0.1:6379"
EVENTS = 30


@pytest.fixture
def sender() -> Iterator["redis.Redis"]:
    """The connection that is never cut."""
    if not listens(6379):
        pytest.skip("no Redis on this machine")
    client = redis.Redis.from_url(f"{SERVER}/{DATABASE}", single_connection_client=True, decode_responses=True)
    yield client
    client.close()


def _cut(sender: "redis.Redis") -> int:
    """Cut all other connections to this database; returns how many."""
    own, cut = sender.client_id(), 0
    for client in sender.client_list():
        if int(client["db"]) == DATABASE and int(client["id"]) != own:
            cut += int(sender.client_kill_filter(_id=client["id"]))
    return cut


@pytest.mark.redis
def test_a_stream_that_is_cut_off_again_and_again_is_read_whole_and_once(
    market: Any, start_worker: Any, sender: "redis.Redis"
) -> None:
    stream, moments, cuts = f"test-{uuid4()}", random.Random(5), 0
    address = {"nearline_redis_url": SecretStr(f"{SERVER}/{DATABASE}"), "nearline_redis_stream": stream}
    counted = "SELECT count(*) AS n, count(DISTINCT event_id) AS ids FROM raw.events WHERE item_id = 'i'"
    try:
        with start_worker(Namespace(settings=market.settings.model_copy(update=address))) as run:
            market.wait_until(lambda: bool(run.worker.health()["snapshot"]))
            for event in events(*range(EVENTS)):
                sender.xadd(stream, {"event": json.dumps(event)})
                time.sleep(moments.uniform(0, 0.2))
                cuts += _cut(sender)
            market.wait_until(lambda: market.lake.frame(counted)["n"].item() >= EVENTS)
            market.wait_until(lambda: bool(run.worker.health()["is_well"]))
        last = sender.xinfo_groups(stream)[0]["last-delivered-id"]
        assert last == sender.xinfo_stream(stream)["last-generated-id"]
    finally:
        sender.delete(stream)
    found = market.lake.frame(counted)
    assert found["n"].item() == found["ids"].item() == EVENTS
    # Fewer than events: the worker waits a little longer after each failure.
    assert cuts >= 3
