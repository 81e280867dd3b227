"""What a stream removed before it was read is told once, and the rest is read."""

from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from confluent_kafka import TopicPartition
from pydantic import SecretStr

from assets.streams import removed_entries
from assets.streams.contract import EventSource
from assets.streams.redis_stream import GROUP
from assets.streams.removed_entries import StreamState
from models.errors import SourceGapError

from .streams import REDIS, TOPIC, Stream, events, open_kafka, open_redis, poll, redis_key, resumed, users

LARGE = [{**event, "padding": "x" * 900_000} for event in events(*range(10, 20))]
"""More than the 5 MiB that the broker for tests keeps of a partition; each is written by itself."""


@pytest.fixture
def stream() -> Iterator[Stream]:
    yield from resumed(open_redis())


@pytest.fixture
def topic() -> Iterator[Stream]:
    yield from resumed(open_kafka())


@pytest.fixture(scope="module")
def client() -> Any:
    return redis.Redis.from_url(REDIS, decode_responses=True)


def _begun(stream: Stream, rows: int = 2) -> dict[str, str]:
    """Read some of six events; the position after them."""
    stream.send(events(*range(6)))
    first = poll(stream.source, rows)
    stream.source.acknowledge(first)
    return dict(first.after)


def _read_on(source: EventSource, wait_s: float = 0.3) -> list[str]:
    """All that is left, until nothing comes for a while."""
    found = []
    while (delivery := source.poll(100, wait_s)) is not None:
        found += users(delivery)
    return found


@pytest.mark.redis
def test_trimmed_entries_are_told_when_a_reader_takes_over(stream: Stream, client: Any) -> None:
    position = _begun(stream)
    client.xtrim(redis_key(stream.source), maxlen=2, approximate=False)
    left = client.xinfo_stream(redis_key(stream.source))["first-entry"][0]
    other = stream.reopen()
    other.resume(position)
    with pytest.raises(SourceGapError, match=f"{position['']}, but 2 entries .* begins with {left}, .*MAXLEN"):
        other.poll(100, 0.1)
    delivery = poll(other)
    assert (users(delivery), delivery.before) == (["u4", "u5"], position)
    assert _read_on(other) == []
    other.close()


@pytest.mark.redis
def test_trimmed_entries_are_told_while_a_reader_polls(stream: Stream, client: Any) -> None:
    _begun(stream, rows=6)
    stream.send(events(*range(6, 10)))
    client.xtrim(redis_key(stream.source), maxlen=0, approximate=False)
    with pytest.raises(SourceGapError, match="4 entries after it were removed unread; nothing is left"):
        stream.source.poll(100, 0.1)
    stream.send(events(11))
    assert _read_on(stream.source) == ["u11"]


@pytest.mark.redis
def test_entries_that_are_removed_once_they_were_read_are_no_gap(stream: Stream, client: Any) -> None:
    position = _begun(stream, rows=3)
    client.xtrim(redis_key(stream.source), maxlen=3, approximate=False)
    stream.source.resume(position)
    second = poll(stream.source, 2)
    client.xdel(redis_key(stream.source), second.after[""])
    client.xtrim(redis_key(stream.source), maxlen=1, approximate=False)
    assert _read_on(stream.source) == ["u5"]
    client.xtrim(redis_key(stream.source), maxlen=0, approximate=False)
    stream.send(events(6))
    assert _read_on(stream.source) == ["u6"]


@pytest.mark.redis
def test_a_stream_that_was_trimmed_before_it_was_first_read_has_no_gap(stream: Stream, client: Any) -> None:
    stream.send(events(*range(6)))
    client.xtrim(redis_key(stream.source), maxlen=2, approximate=False)
    assert _read_on(stream.source) == ["u4", "u5"]


@pytest.mark.redis
def test_a_gap_that_nobody_counted_may_be_one(stream: Stream, client: Any) -> None:
    position = _begun(stream)
    client.xgroup_destroy(redis_key(stream.source), GROUP)
    client.xtrim(redis_key(stream.source), maxlen=2, approximate=False)
    stream.source.resume(position)
    with pytest.raises(SourceGapError, match="may have been removed unread"):
        stream.source.poll(1, 0.1)
    assert _read_on(stream.source) == ["u4", "u5"]


@pytest.mark.redis
@pytest.mark.parametrize("is_resumed", [False, True])
def test_a_stream_that_was_made_anew_is_told(stream: Stream, client: Any, is_resumed: bool) -> None:
    position = _begun(stream, rows=6)
    client.delete(redis_key(stream.source))
    if is_resumed:
        stream.source.resume(position)
    with pytest.raises(SourceGapError, match="made anew"):
        stream.source.poll(100, 0.1)
    stream.send(events(7))
    assert _read_on(stream.source) == ["u7"]


@pytest.mark.parametrize(
    ("first", "is_resumed", "removed"),
    [
        ("3-0", True, None),  # the entry at the position is left
        ("4-0", True, "entries after it may have been removed unread"),
        ("4-0", False, None),  # a reader that removes what it has read looks the same
        (None, False, "all entries after it were removed unread"),
    ],
)
def test_a_redis_that_does_not_count_what_was_added(first: str | None, is_resumed: bool, removed: str | None) -> None:
    entry = first and (first, {})
    state = StreamState.of({"first-entry": entry, "last-generated-id": "9-0", "length": 6 if first else 0})
    left = state.left_after("3-0", found=2, asked=2)
    found = removed_entries.removed_unread(state, "3-0", read=None, left=left, is_resumed=is_resumed)
    assert found == removed


@pytest.mark.redis
def test_a_worker_tells_a_gap_and_goes_on(market: Any, start_worker: Any, stream: Stream, client: Any) -> None:
    address = {"nearline_redis_url": SecretStr(REDIS), "nearline_redis_stream": redis_key(stream.source)}
    settings = market.settings.model_copy(update=address)
    known = "SELECT count(*) AS n FROM raw.events WHERE item_id = 'i'"
    stream.send(events(1))
    with start_worker(Namespace(settings=settings)):
        market.wait_until(lambda: market.lake.frame(known)["n"].item() == 1)
    stream.send(events(2, 3))
    client.xtrim(redis_key(stream.source), maxlen=1, approximate=False)
    with start_worker(Namespace(settings=settings)) as run:
        market.wait_until(lambda: market.lake.frame(known)["n"].item() == 2)
    errors = run.metrics.registry.get_sample_value("freshet_nearline_errors_total", {"kind": "SourceGapError"})
    assert errors == 1


def test_a_partition_that_lost_messages_is_told_when_a_reader_takes_over(topic: Stream) -> None:
    position = _begun(topic)
    _send_large(topic)
    other = topic.reopen()
    other.resume(position)
    with pytest.raises(SourceGapError, match=r"events/0: .* offset 1, but the \d+ that follow .*retention.ms"):
        other.poll(100, 0.1)
    delivery = poll(other)
    assert delivery.before == position
    assert [*users(delivery), *_read_on(other)][-1] == "u19"
    other.close()


def test_a_partition_that_loses_messages_while_it_is_read_is_told(topic: Stream) -> None:
    topic.send(events(0))
    first = poll(topic.source)
    # As a reader that is far behind: nothing is fetched ahead of what is trimmed.
    behind = [TopicPartition(TOPIC, 0)]
    topic.source._consumer.pause(behind)
    _send_large(topic)
    topic.source._consumer.resume(behind)
    with pytest.raises(SourceGapError, match=r"events/0: .* offset 0, but the \d+ that follow"):
        _read_on(topic.source, wait_s=3)
    delivery = poll(topic.source)
    assert delivery.before == first.after
    assert [*users(delivery), *_read_on(topic.source)][-1] == "u19"


def test_what_comes_along_with_an_error_is_fetched_again(topic: Stream) -> None:
    topic.send(events(0))
    poll(topic.source)
    both = [TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)]
    topic.source._consumer.pause(both)
    _send_large(topic)
    topic.send(events(1, 2), partition=1)
    topic.source._consumer.resume(both)
    with pytest.raises(SourceGapError):
        topic.source.poll(100, 3)
    assert {"u1", "u2", "u19"} <= {*_read_on(topic.source)}


def test_a_topic_that_was_made_anew_is_read_from_its_beginning(topic: Stream) -> None:
    topic.send(events(1, 2))
    topic.source.resume({"0": "98"})
    with pytest.raises(SourceGapError, match="offset 98, but it ends before 2"):
        topic.source.poll(100, 0.1)
    delivery = poll(topic.source)
    assert (users(delivery), delivery.before) == (["u1", "u2"], {"0": "98"})


def _send_large(topic: Stream) -> None:
    for event in LARGE:
        topic.send([event])
