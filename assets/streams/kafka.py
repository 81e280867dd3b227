"""A Kafka topic as a source of the nearline lane, for any broker that speaks the protocol.

All partitions are assigned to this reader, at the offsets that the lake keeps; offsets committed to the broker only
let its own tools show the lag.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from assets.landing_text import json_record, records_table
from assets.nearline_commit import origin_of
from assets.streams.contract import Delivery
from models.errors import SourceUnavailableError
from models.nearline import Position

GROUP = "freshet"
_TIMEOUT_S = 10.0

_LOG = logging.getLogger(__name__)


class KafkaSource:
    """JSON messages of one topic, in the order of each partition."""

    def __init__(self, servers: str, topic: str) -> None:
        """Connect when first asked for something.

        Args:
            servers: Bootstrap servers, `host:port,…`.
            topic: Name of the topic.
        """
        self.name = f"kafka:{topic}"
        self._topic = topic
        self._servers = servers
        self._next: dict[int, int] = {}
        """Offset to read next by partition."""
        self._kept: dict[str, str] = {}
        """Offset of the last message that was delivered, or that the lake has, by partition."""
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": GROUP,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "client.id": "freshet-nearline",
                # Bounds what the client fetches ahead, in KiB.
                "queued.max.messages.kbytes": 32_768,
                "fetch.wait.max.ms": 50,
            },
            logger=_LOG,
        )

    def resume(self, position: Position) -> None:
        """Read each partition on after the offset that the lake keeps, from its beginning where it keeps none.

        Raises:
            SourceUnavailableError: no broker answers, or the topic does not exist.
        """
        with self._answering():
            topic = self._consumer.list_topics(self._topic, timeout=_TIMEOUT_S).topics[self._topic]
            if topic.error is not None:
                raise KafkaException(topic.error)
            self._next, self._kept = {}, dict(position)
            for partition in sorted(topic.partitions):
                kept = position.get(str(partition))
                self._next[partition] = self._watermarks(partition)[0] if kept is None else int(kept) + 1
            self._consumer.assign([TopicPartition(self._topic, *place) for place in self._next.items()])

    def poll(self, max_rows: int, timeout_s: float) -> Delivery | None:
        """The next messages of any partitions.

        Raises:
            SourceUnavailableError: no broker answers.
        """
        with self._answering():
            messages = [_sound(message) for message in self._consumer.consume(max_rows, timeout_s)]
        # What an assignment before `resume` had fetched may still come.
        messages = [message for message in messages if _offset(message) >= self._next[_partition(message)]]
        if not messages:
            return None
        after = {str(_partition(message)): str(_offset(message)) for message in messages}
        before = {partition: self._kept[partition] for partition in after if partition in self._kept}
        self._next |= {int(partition): int(offset) + 1 for partition, offset in after.items()}
        self._kept |= after
        return Delivery(
            source=self.name,
            cells=records_table([json_record(message.value() or b"") for message in messages]),
            origins=tuple(origin_of(self.name, str(_partition(message))) for message in messages),
            numbers=tuple(_offset(message) for message in messages),
            arrived_at=tuple(_moment(message) for message in messages),
            before=before,
            after=after,
        )

    def acknowledge(self, delivery: Delivery) -> None:
        """Commit offsets to the broker."""
        places = [TopicPartition(self._topic, int(name), int(offset) + 1) for name, offset in delivery.after.items()]
        with self._answering():
            self._consumer.commit(offsets=places, asynchronous=True)

    def backlog(self) -> int:
        """Messages that were not delivered yet, as far as the client has heard."""
        with self._answering():
            ends = {partition: self._watermarks(partition, cached=True)[1] for partition in self._next}
        return sum(max(0, ends[partition] - offset) for partition, offset in self._next.items())

    def close(self) -> None:
        """Leave the cluster."""
        self._consumer.close()

    def _watermarks(self, partition: int, *, cached: bool = False) -> tuple[int, int]:
        """First offset of a partition, and the one after its last; negative where they are not known."""
        place = TopicPartition(self._topic, partition)
        marks = self._consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S, cached=cached)
        if marks is None:
            raise SourceUnavailableError(f"{self.name}: the broker did not answer within {_TIMEOUT_S:g} s")
        first, end = marks
        return first, end

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            raise SourceUnavailableError(
                f"{self.name}: {self._servers} cannot be read ({error}); see that the broker runs, that the topic "
                "exists and that FRESHET_NEARLINE_KAFKA is its address"
            ) from error


def _sound(message: Message) -> Message:
    error = message.error()
    if error is not None:
        raise KafkaException(error)
    return message


def _partition(message: Message) -> int:
    partition = message.partition()
    assert partition is not None
    return partition


def _offset(message: Message) -> int:
    offset = message.offset()
    assert offset is not None
    return offset


def _moment(message: Message) -> datetime:
    """When the broker or the producer stamped the message, UTC without a zone."""
    return datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC).replace(tzinfo=None)
