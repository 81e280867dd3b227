"""The contract of a source, for each kind of source, against the real thing where there is one on this machine."""

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from confluent_kafka import Producer

from assets.lake import Lake
from assets.landing_zone import LandingZone
from assets.streams import redis_stream
from assets.streams.contract import Delivery, EventSource
from assets.streams.kafka import KafkaSource
from assets.streams.landing import LandingSource
from assets.streams.redis_stream import GROUP, RedisStreamSource
from models.errors import SourceUnavailableError

Event = dict[str, object]
REDIS = "redis://127.0.0.1:6379/9"


@dataclass
class Stream:
    """A source, how to put events into it, and how to open it as another process would."""

    source: EventSource
    send: Callable[[list[Event]], None]
    reopen: Callable[[], EventSource]


CUT_AT_ANY_ROW = [pytest.param("redis", marks=pytest.mark.redis), "kafka"]
"""Sources whose deliveries may be cut at any row; a file comes whole, and the lake knows it by its content."""


@pytest.fixture(params=["landing", *CUT_AT_ANY_ROW])
def stream(request: pytest.FixtureRequest, lake: Lake, tmp_path: Path) -> Iterator[Stream]:
    made = {"landing": _landing, "redis": _redis, "kafka": _kafka}[request.param](lake, tmp_path)
    made.source.resume({})
    yield made
    made.source.close()


def _landing(lake: Lake, folder: Path) -> Stream:
    numbers = iter(range(100))

    def send(events: list[Event]) -> None:
        file = folder / "landing" / "events" / f"{next(numbers):02d}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(event) + "\n" for event in events))

    def reopen() -> LandingSource:
        clock = lambda: datetime.now(UTC).replace(tzinfo=None)  # noqa: E731
        return LandingSource(lake, folder / "landing", settle_seconds=-1e9, max_bytes=10_000, clock=clock)

    return Stream(reopen(), send, reopen)


def _redis(lake: Lake, folder: Path) -> Stream:
    if not _listens(6379):
        pytest.skip("no Redis on this machine")
    client, key = redis.Redis.from_url(REDIS), f"test-{uuid4()}"

    def send(events: list[Event]) -> None:
        for event in events:
            client.xadd(key, {"event": json.dumps(event)})
        client.expire(key, 600)

    return Stream(RedisStreamSource(REDIS, key), send, lambda: RedisStreamSource(REDIS, key))


def _kafka(lake: Lake, folder: Path) -> Stream:
    """The client brings a broker for tests, which lives as long as the producer."""
    producer = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1})
    servers = _mock_servers(producer)

    def send(events: list[Event]) -> None:
        for event in events:
            producer.produce("events", json.dumps(event).encode(), partition=0)
        producer.flush(10)

    send([])
    return Stream(KafkaSource(servers, "events"), send, lambda: KafkaSource(servers, "events"))


def _mock_servers(producer: Producer) -> str:
    brokers = producer.list_topics(topic="events", timeout=10).brokers
    return ",".join(f"{broker.host}:{broker.port}" for broker in brokers.values())


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _events(*numbers: int) -> list[Event]:
    return [{"user_id": f"u{n}", "item_id": "i", "event_type": "view", "event_at": "2026-01-01"} for n in numbers]


def _poll(source: EventSource, rows: int = 100) -> Delivery:
    for _ in range(100):
        delivery = source.poll(rows, 0.1)
        if delivery is not None:
            return delivery
    raise AssertionError("nothing was delivered within ten seconds")


def _users(delivery: Delivery) -> list[str]:
    return delivery.cells["user_id"].to_pylist()


def test_rows_come_in_order_with_where_they_come_from(stream: Stream) -> None:
    stream.send(_events(1, 2, 3))
    delivery = _poll(stream.source)
    assert _users(delivery) == ["u1", "u2", "u3"]
    assert list(delivery.numbers) == sorted(set(delivery.numbers))
    assert len(delivery.origins) == len(delivery.arrived_at) == 3
    assert abs((delivery.arrived_at[0] - datetime.now(UTC).replace(tzinfo=None)).total_seconds()) < 60


def test_nothing_new_is_no_delivery(stream: Stream) -> None:
    stream.send(_events(1))
    stream.source.acknowledge(_poll(stream.source))
    assert stream.source.poll(100, 0.01) is None


def test_what_was_not_committed_is_delivered_again_after_a_resume(stream: Stream) -> None:
    stream.send(_events(1, 2))
    first = _poll(stream.source)
    stream.source.resume(first.before)
    again = _poll(stream.source)
    assert (_users(again), again.numbers, again.before, again.after) == (
        _users(first), first.numbers, first.before, first.after,
    )  # fmt: skip


def test_another_reader_does_not_take_rows_away(stream: Stream) -> None:
    stream.send(_events(1, 2))
    other = stream.reopen()
    other.resume({})
    _poll(other)
    assert _users(_poll(stream.source)) == ["u1", "u2"]
    other.close()


@pytest.mark.parametrize("stream", CUT_AT_ANY_ROW, indirect=True)
def test_a_position_of_the_lake_is_enough_to_go_on(stream: Stream) -> None:
    stream.send(_events(1, 2, 3))
    first = _poll(stream.source, 2)
    other = stream.reopen()
    other.resume(first.after)
    second = _poll(other)
    assert _users(first) + _users(second) == ["u1", "u2", "u3"]
    assert second.before == first.after
    other.close()


@pytest.mark.parametrize("stream", CUT_AT_ANY_ROW, indirect=True)
def test_a_delivery_is_no_longer_than_asked_for(stream: Stream) -> None:
    stream.send(_events(1, 2, 3))
    assert [len(_poll(stream.source, 1).numbers) for _ in range(3)] == [1, 1, 1]


def test_a_broken_row_is_delivered_as_one(stream: Stream) -> None:
    stream.send([{"user_id": "u1"}, *_events(2)])
    delivery = _poll(stream.source)
    assert _users(delivery) == ["u1", "u2"]
    assert delivery.cells["item_id"].to_pylist() == [None, "i"]


def test_the_backlog_falls_to_nothing(stream: Stream) -> None:
    stream.send(_events(1, 2))
    delivery = _poll(stream.source)
    stream.source.acknowledge(delivery)
    assert stream.source.backlog() == 0


@pytest.mark.redis
def test_entries_that_a_group_left_pending_are_settled(lake: Lake, tmp_path: Path) -> None:
    made = _redis(lake, tmp_path)
    made.send(_events(1, 2))
    made.source.resume({})
    client = redis.Redis.from_url(REDIS)
    key = made.source.name.removeprefix("redis:")
    client.xreadgroup(GROUP, "somebody", {key: ">"})
    delivery = _poll(made.source)
    made.source.acknowledge(delivery)
    assert client.xpending(key, GROUP)["pending"] == 0
    assert made.source.backlog() == 0


@pytest.mark.redis
def test_the_backlog_of_a_redis_stream_is_what_the_lake_lacks_not_its_length(lake: Lake, tmp_path: Path) -> None:
    made = _redis(lake, tmp_path)
    made.send(_events(*range(6)))
    made.source.resume({})
    first = _poll(made.source, 2)
    assert made.source.backlog() == 6
    made.source.acknowledge(first)
    assert made.source.backlog() == 4
    second = _poll(made.source, 3)
    made.send(_events(6))
    assert made.source.backlog() == 5
    made.source.acknowledge(second)
    assert (made.source.backlog(), _lag(made.source)) == (2, 2)


@pytest.mark.redis
def test_a_reader_that_takes_over_in_the_middle_counts_what_waits(lake: Lake, tmp_path: Path) -> None:
    made = _redis(lake, tmp_path)
    made.send(_events(*range(6)))
    made.source.resume({})
    first = _poll(made.source, 2)
    made.source.acknowledge(first)
    made.source.resume(first.after)
    assert _lag(made.source) is None  # Redis does not know it
    assert (made.source.backlog(), made.source.backlog()) == (4, 4)
    second = _poll(made.source, 1)
    made.source.acknowledge(second)
    assert (made.source.backlog(), _lag(made.source)) == (3, 3)


def _lag(source: EventSource) -> int | None:
    """What Redis' own tools show."""
    return redis.Redis.from_url(REDIS).xinfo_groups(source.name.removeprefix("redis:"))[0]["lag"]


@pytest.mark.redis
def test_waiting_entries_are_counted_up_to_a_bound(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_stream, "_COUNTED_AT_ONCE", 2)
    monkeypatch.setattr(redis_stream, "MOST_COUNTED", 4)
    made = _redis(lake, tmp_path)
    made.send(_events(*range(8)))
    made.source.resume({})
    first = _poll(made.source, 2)
    made.source.acknowledge(first)
    assert made.source.backlog() == 4
    last = _poll(made.source, 3)
    made.source.acknowledge(last)
    assert made.source.backlog() == 3


def test_a_redis_that_is_gone_is_named(lake: Lake) -> None:
    with pytest.raises(SourceUnavailableError, match="FRESHET_NEARLINE_REDIS_URL"):
        RedisStreamSource("redis://127.0.0.1:1/0", "events").resume({})


def test_a_broker_that_is_gone_is_named() -> None:
    source = KafkaSource("127.0.0.1:1", "events")
    with pytest.raises(SourceUnavailableError, match="FRESHET_NEARLINE_KAFKA"):
        source.resume({})
    source.close()


def test_a_large_file_is_left_to_the_batch_lane(lake: Lake, tmp_path: Path) -> None:
    made = _landing(lake, tmp_path)
    made.source.resume({})
    made.send(_events(*range(1000)))
    assert made.source.poll(10, 0) is None
    assert made.source.backlog() == 0


def test_one_listing_of_the_folder_serves_a_turn(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, listed, found = _landing(lake, tmp_path), [], LandingZone.found
    monkeypatch.setattr(LandingZone, "found", lambda zone, kind: listed.append(kind) or found(zone, kind))
    made.source.resume({})
    made.send(_events(1))
    made.send(_events(2))
    assert made.source.backlog() == 2
    listed.clear()
    first = _poll(made.source)
    assert made.source.backlog() == 2
    made.source.acknowledge(first)
    assert (made.source.backlog(), listed) == (1, ["events"])
    assert _users(_poll(made.source)) == ["u2"]


def test_a_file_that_is_written_anew_is_looked_at_again(lake: Lake, tmp_path: Path) -> None:
    made = _landing(lake, tmp_path)
    made.source.resume({})
    made.send(_events(1))
    first = _poll(made.source)
    made.source.acknowledge(first)
    assert made.source.poll(10, 0) is None
    assert first.file is not None
    first.file.path.write_text(json.dumps(_events(22)[0]) + "\n")
    assert _users(_poll(made.source)) == ["u22"]
