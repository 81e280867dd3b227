"""The contract of a source, for each kind of source, against the real thing where there is one on this machine."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from assets.lake import Lake
from assets.landing_zone import LandingZone
from assets.streams import kafka, redis_stream
from assets.streams.contract import EventSource
from assets.streams.kafka import KafkaSource
from assets.streams.redis_stream import GROUP, RedisStreamSource
from models.errors import SourceUnavailableError

from .streams import (
    CUT_AT_ANY_ROW,
    REDIS,
    Stream,
    events,
    open_kafka,
    open_redis,
    open_stream,
    poll,
    redis_key,
    resumed,
    users,
)


@pytest.fixture(params=["landing", *CUT_AT_ANY_ROW])
def stream(request: pytest.FixtureRequest, lake: Lake, tmp_path: Path) -> Iterator[Stream]:
    yield from resumed(open_stream(request.param, lake, tmp_path))


def test_rows_come_in_order_with_where_they_come_from(stream: Stream) -> None:
    stream.send(events(1, 2, 3))
    delivery = poll(stream.source)
    assert users(delivery) == ["u1", "u2", "u3"]
    assert list(delivery.numbers) == sorted(set(delivery.numbers))
    assert len(delivery.origins) == len(delivery.arrived_at) == 3
    assert abs((delivery.arrived_at[0] - datetime.now(UTC).replace(tzinfo=None)).total_seconds()) < 60


def test_nothing_new_is_no_delivery(stream: Stream) -> None:
    stream.send(events(1))
    stream.source.acknowledge(poll(stream.source))
    assert stream.source.poll(100, 0.01) is None


def test_what_was_not_committed_is_delivered_again_after_a_resume(stream: Stream) -> None:
    stream.send(events(1, 2))
    first = poll(stream.source)
    stream.source.resume(first.before)
    again = poll(stream.source)
    assert (users(again), again.numbers, again.before, again.after) == (
        users(first), first.numbers, first.before, first.after,
    )  # fmt: skip


def test_another_reader_does_not_take_rows_away(stream: Stream) -> None:
    stream.send(events(1, 2))
    other = stream.reopen()
    other.resume({})
    poll(other)
    assert users(poll(stream.source)) == ["u1", "u2"]
    other.close()


@pytest.mark.parametrize("stream", CUT_AT_ANY_ROW, indirect=True)
def test_a_position_of_the_lake_is_enough_to_go_on(stream: Stream) -> None:
    stream.send(events(1, 2, 3))
    first = poll(stream.source, 2)
    other = stream.reopen()
    other.resume(first.after)
    second = poll(other)
    assert users(first) + users(second) == ["u1", "u2", "u3"]
    assert second.before == first.after
    other.close()


@pytest.mark.parametrize("stream", CUT_AT_ANY_ROW, indirect=True)
def test_a_delivery_is_no_longer_than_asked_for(stream: Stream) -> None:
    stream.send(events(1, 2, 3))
    assert [len(poll(stream.source, 1).numbers) for _ in range(3)] == [1, 1, 1]


def test_a_broken_row_is_delivered_as_one(stream: Stream) -> None:
    stream.send([{"user_id": "u1"}, *events(2)])
    delivery = poll(stream.source)
    assert users(delivery) == ["u1", "u2"]
    assert delivery.cells["item_id"].to_pylist() == [None, "i"]


def test_the_backlog_falls_to_nothing(stream: Stream) -> None:
    stream.send(events(1, 2))
    delivery = poll(stream.source)
    stream.source.acknowledge(delivery)
    assert stream.source.backlog() == 0


@pytest.mark.parametrize("stream", CUT_AT_ANY_ROW, indirect=True)
def test_the_backlog_counts_what_was_delivered_and_not_acknowledged(stream: Stream) -> None:
    stream.send(events(*range(5)))
    first, second = poll(stream.source, 2), poll(stream.source, 1)
    assert stream.source.backlog() == 5
    stream.source.acknowledge(first)
    stream.source.acknowledge(second)
    assert stream.source.backlog() == 2


@pytest.mark.redis
def test_a_reader_that_takes_over_goes_on_with_the_count_of_the_group() -> None:
    made = open_redis()
    made.send(events(*range(6)))
    made.source.resume({})
    first = poll(made.source, 2)
    made.source.acknowledge(first)
    made.source.resume(first.after)
    assert (made.source.backlog(), _lag(made.source)) == (4, 4)


@pytest.mark.redis
def test_an_entry_that_is_no_text_is_a_broken_row() -> None:
    made = open_redis()
    made.source.resume({})
    client, key = redis.Redis.from_url(REDIS), redis_key(made.source)
    client.xadd(key, {"event": b'{"user_id": "\xff"}'})
    client.xadd(key, {"user_id": b"\xff"})
    made.send(events(1))
    delivery = poll(made.source)
    assert delivery.cells["row_error"].to_pylist() == ["not valid JSON at character 0", "not valid UTF-8", None]
    assert users(delivery) == [None, None, "u1"]


def test_a_partition_that_is_added_later_is_read_without_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    later = {2, 3}

    class GrowingConsumer(kafka.Consumer):
        """The topic has fewer partitions at first; the broker for tests cannot add any."""

        def list_topics(self, *asked: object, **how: object) -> object:
            found = super().list_topics(*asked, **how)
            for partition in later:
                del found.topics["events"].partitions[partition]
            return found

    monkeypatch.setattr(kafka, "Consumer", GrowingConsumer)
    made = open_kafka()
    made.source.resume({})
    made.send(events(1))
    made.send(events(2), partition=2)
    assert users(poll(made.source)) == ["u1"]
    assert made.source.poll(100, 0.5) is None
    later.clear()
    monkeypatch.setattr(kafka, "RELIST_S", 0.0)
    assert users(poll(made.source)) == ["u2"]
    made.source.close()


@pytest.mark.redis
def test_entries_that_a_group_left_pending_are_settled() -> None:
    made = open_redis()
    made.send(events(1, 2))
    made.source.resume({})
    client = redis.Redis.from_url(REDIS)
    key = redis_key(made.source)
    client.xreadgroup(GROUP, "somebody", {key: ">"})
    delivery = poll(made.source)
    made.source.acknowledge(delivery)
    assert client.xpending(key, GROUP)["pending"] == 0
    assert made.source.backlog() == 0


@pytest.mark.redis
def test_the_backlog_of_a_redis_stream_is_what_the_lake_lacks_not_its_length() -> None:
    made = open_redis()
    made.send(events(*range(6)))
    made.source.resume({})
    first = poll(made.source, 2)
    assert made.source.backlog() == 6
    made.source.acknowledge(first)
    assert made.source.backlog() == 4
    second = poll(made.source, 3)
    made.send(events(6))
    assert made.source.backlog() == 5
    made.source.acknowledge(second)
    assert (made.source.backlog(), _lag(made.source)) == (2, 2)


@pytest.mark.redis
def test_a_reader_that_takes_over_in_the_middle_counts_what_waits() -> None:
    made = open_redis()
    made.send(events(*range(6)))
    made.source.resume({})
    first = poll(made.source, 2)
    made.source.acknowledge(first)
    _forget_count(made.source, first.after[""])
    made.source.resume(first.after)
    assert _lag(made.source) is None
    assert (made.source.backlog(), made.source.backlog()) == (4, 4)
    second = poll(made.source, 1)
    made.source.acknowledge(second)
    assert (made.source.backlog(), _lag(made.source)) == (3, 3)


def _lag(source: EventSource) -> int | None:
    """What Redis' own tools show."""
    return redis.Redis.from_url(REDIS).xinfo_groups(redis_key(source))[0]["lag"]


def _forget_count(source: EventSource, position: str) -> None:
    """Put the group to a position as another tool does, so that Redis does not know how many entries were read."""
    redis.Redis.from_url(REDIS).xgroup_setid(redis_key(source), GROUP, position)


@pytest.mark.redis
def test_waiting_entries_are_counted_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_stream, "_COUNTED_AT_ONCE", 2)
    monkeypatch.setattr(redis_stream, "MOST_COUNTED", 4)
    made = open_redis()
    made.send(events(*range(8)))
    made.source.resume({})
    first = poll(made.source, 2)
    _forget_count(made.source, first.after[""])
    made.source.resume(first.after)
    assert made.source.backlog() == 4
    last = poll(made.source, 3)
    made.source.acknowledge(last)
    assert made.source.backlog() == 3


def test_a_redis_that_is_gone_is_named() -> None:
    with pytest.raises(SourceUnavailableError, match="FRESHET_NEARLINE_REDIS_URL"):
        RedisStreamSource("redis://127.0.0.1:1/0", "events").resume({})


def test_a_broker_that_is_gone_is_named() -> None:
    source = KafkaSource("127.0.0.1:1", "events")
    with pytest.raises(SourceUnavailableError, match="FRESHET_NEARLINE_KAFKA"):
        source.resume({})
    source.close()


def test_a_large_file_is_left_to_the_batch_lane(lake: Lake, tmp_path: Path) -> None:
    made = open_stream("landing", lake, tmp_path)
    made.source.resume({})
    made.send(events(*range(1000)))
    assert made.source.poll(10, 0) is None
    assert made.source.backlog() == 0


def test_one_listing_of_the_folder_serves_a_turn(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, listed, found = open_stream("landing", lake, tmp_path), [], LandingZone.found
    monkeypatch.setattr(LandingZone, "found", lambda zone, kind: listed.append(kind) or found(zone, kind))
    made.source.resume({})
    made.send(events(1))
    made.send(events(2))
    assert made.source.backlog() == 2
    listed.clear()
    first = poll(made.source)
    assert made.source.backlog() == 2
    made.source.acknowledge(first)
    assert (made.source.backlog(), listed) == (1, ["events"])
    assert users(poll(made.source)) == ["u2"]


def test_a_file_that_is_written_anew_is_looked_at_again(lake: Lake, tmp_path: Path) -> None:
    made = open_stream("landing", lake, tmp_path)
    made.source.resume({})
    made.send(events(1))
    first = poll(made.source)
    made.source.acknowledge(first)
    assert made.source.poll(10, 0) is None
    assert first.file is not None
    first.file.path.write_text(json.dumps(events(22)[0]) + "\n")
    assert users(poll(made.source)) == ["u22"]
