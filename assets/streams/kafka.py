"""A Kafka topic as a source of the nearline lane, for any broker that speaks the protocol.

All partitions are assigned to this reader, at the offsets that the lake keeps; offsets committed to the broker only
let its own tools show the lag. Where a partition no longer has its offset, that is told as an error, once, and reading
goes on with the first one that is left.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from assets.landing_text import json_record, records_table
from assets.nearline_commit import origin_of
from assets.streams.contract import Delivery
from models.errors import SourceGapError, SourceUnavailableError
from models.nearline import Position

GROUP = "freshet"
RELIST_S = 60.0
"""How often partitions that were added to the topic are looked for."""
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
        self._in_flight = 0
        """Messages delivered and not acknowledged."""
        self._gaps: list[str] = []
        """What was removed before it was read, and was not told yet."""
        self._listed_at = 0.0
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": GROUP,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                # An offset that is gone is an error, instead of a jump that nobody hears of.
                "auto.offset.reset": "error",
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
        self._next, self._kept, self._in_flight, self._gaps = {}, dict(position), 0, []
        with self._answering():
            self._add(self._partitions())

    def poll(self, max_rows: int, timeout_s: float) -> Delivery | None:
        """The next messages of any partitions.

        Raises:
            SourceUnavailableError: no broker answers.
            SourceGapError: messages were removed before they were read; the next call goes on with what is left.
        """
        with self._answering():
            if time.monotonic() - self._listed_at >= RELIST_S:
                self._add(self._partitions())
            self._tell_gaps()
            messages = self._sound(self._consumer.consume(max_rows, timeout_s))
        # What an assignment before `resume` had fetched may still come.
        messages = [message for message in messages if _offset(message) >= self._next[_partition(message)]]
        if not messages:
            return None
        after = {str(_partition(message)): str(_offset(message)) for message in messages}
        before = {partition: self._kept[partition] for partition in after if partition in self._kept}
        self._next |= {int(partition): int(offset) + 1 for partition, offset in after.items()}
        self._kept |= after
        self._in_flight += len(messages)
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
        self._in_flight -= len(delivery.numbers)

    def backlog(self) -> int:
        """Messages that the lake does not have, as far as the client has heard of them."""
        with self._answering():
            ends = {partition: self._watermarks(partition, cached=True)[1] for partition in self._next}
        return self._in_flight + sum(max(0, ends[partition] - offset) for partition, offset in self._next.items())

    def close(self) -> None:
        """Leave the cluster."""
        self._consumer.close()

    def _partitions(self) -> list[int]:
        """The partitions of the topic as they are now."""
        self._listed_at = time.monotonic()
        topic = self._consumer.list_topics(self._topic, timeout=_TIMEOUT_S).topics[self._topic]
        if topic.error is not None:
            raise KafkaException(topic.error)
        return sorted(topic.partitions)

    def _add(self, partitions: Sequence[int]) -> None:
        """Read these partitions too, where that is not done already."""
        starts = {partition: self._start(partition) for partition in partitions if partition not in self._next}
        if starts:
            self._next |= starts
            self._assign()

    def _assign(self) -> None:
        """Fetch what follows on what was delivered; what was fetched already is fetched again."""
        self._consumer.assign([TopicPartition(self._topic, *place) for place in self._next.items()])

    def _start(self, partition: int) -> int:
        """Offset to read next: the one after what the lake keeps, or the first that is left where that is gone."""
        first, end = self._watermarks(partition)
        kept = self._kept.get(str(partition))
        if kept is None:
            return first
        wanted = int(kept) + 1
        if first <= wanted <= end:
            return wanted
        self._gaps.append(_gap(origin_of(self.name, str(partition)), wanted, first, end))
        return first

    def _tell_gaps(self) -> None:
        if self._gaps:
            told, self._gaps = "; ".join(self._gaps), []
            raise SourceGapError(
                f"{told}. Let the topic keep more (retention.ms, retention.bytes); what is missing can be landed as a "
                "file, since events that are there already are not taken twice"
            )

    def _sound(self, messages: Sequence[Message]) -> Sequence[Message]:
        """The messages, where no error is among them; else none of them is taken, and all are fetched again."""
        errors = [(message.partition(), error) for message in messages if (error := message.error()) is not None]
        if not errors:
            return messages
        outside = {partition for partition, error in errors if error.code() == KafkaError._AUTO_OFFSET_RESET}
        try:
            self._next |= {partition: self._start(partition) for partition in self._next if partition in outside}
        finally:
            self._assign()
        self._tell_gaps()
        raise KafkaException(errors[0][1])

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


def _gap(origin: str, wanted: int, first: int, end: int) -> str:
    """What is missing in a partition that has no offset `wanted` any more."""
    if wanted > end:
        return (
            f"{origin}: the lake has it up to offset {wanted - 1}, but it ends before {end}, so it was made anew or "
            f"cut; it is read from {first}"
        )
    return (
        f"{origin}: the lake has it up to offset {wanted - 1}, but the {first - wanted:,} that follow were removed "
        f"unread; what is left begins with {first}, and is read on"
    )


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
