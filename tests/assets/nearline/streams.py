"""Sources for tests, each against the real thing, or against the broker for tests that Kafka's client brings."""

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
from assets.streams.contract import Delivery, EventSource
from assets.streams.kafka import KafkaSource
from assets.streams.landing import LandingSource
from assets.streams.redis_stream import RedisStreamSource

Event = dict[str, object]
REDIS = "redis://127.0.0.1:6379/9"
TOPIC = "events"

CUT_AT_ANY_ROW = [pytest.param("redis", marks=pytest.mark.redis), "kafka"]
"""Sources whose deliveries may be cut at any row; a file comes whole, and the lake knows it by its content."""


@dataclass
class Stream:
    """A source, how to put events into it, and how to open it as another process would."""

    source: EventSource
    send: Callable[[list[Event]], None]
    reopen: Callable[[], EventSource]


def open_stream(kind: str, lake: Lake, folder: Path) -> Stream:
    """A source of a kind, `landing`, `redis` or `kafka`, without any event."""
    if kind == "landing":
        return _landing(lake, folder)
    return open_redis() if kind == "redis" else open_kafka()


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


def open_redis() -> Stream:
    """A stream of the Redis on this machine."""
    if not listens(6379):
        pytest.skip("no Redis on this machine")
    client, key = redis.Redis.from_url(REDIS), f"test-{uuid4()}"

    def send(events: list[Event]) -> None:
        for event in events:
            client.xadd(key, {"event": json.dumps(event)})
        client.expire(key, 600)

    return Stream(RedisStreamSource(REDIS, key), send, lambda: RedisStreamSource(REDIS, key))


def redis_key(source: EventSource) -> str:
    """Key of the stream that a source reads."""
    return source.name.removeprefix("redis:")


def resumed(made: Stream) -> Iterator[Stream]:
    """A stream that is read from its beginning, and closed at the end."""
    made.source.resume({})
    yield made
    made.source.close()


def open_kafka() -> Stream:
    """The first partition of a topic of four, whose broker lives as long as the producer."""
    producer = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1})
    servers = _mock_servers(producer)

    def send(events: list[Event], partition: int = 0) -> None:
        for event in events:
            producer.produce(TOPIC, json.dumps(event).encode(), partition=partition)
        producer.flush(10)

    send([])
    return Stream(KafkaSource(servers, TOPIC), send, lambda: KafkaSource(servers, TOPIC))


def _mock_servers(producer: Producer) -> str:
    brokers = producer.list_topics(topic=TOPIC, timeout=10).brokers
    return ",".join(f"{broker.host}:{broker.port}" for broker in brokers.values())


def listens(port: int) -> bool:
    """Whether anything answers at a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def events(*numbers: int) -> list[Event]:
    """An event of each of these users."""
    return [{"user_id": f"u{n}", "item_id": "i", "event_type": "view", "event_at": "2026-01-01"} for n in numbers]


def poll(source: EventSource, rows: int = 100) -> Delivery:
    """What a source delivers within ten seconds."""
    for _ in range(100):
        delivery = source.poll(rows, 0.1)
        if delivery is not None:
            return delivery
    raise AssertionError("nothing was delivered within ten seconds")


def users(delivery: Delivery) -> list[str]:
    """Whose events were delivered."""
    return delivery.cells["user_id"].to_pylist()
