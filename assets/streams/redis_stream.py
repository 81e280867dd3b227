"""Redis Streams as a source of the nearline lane.

Entries are read in order after the id that the lake keeps, not through a consumer group: a group hands each entry to
one reader, so a second worker started by mistake would take entries from the first. The group `freshet` only follows
behind, so that Redis' own tools show the lag, and trimming by it is safe.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import redis

from assets.landing_text import json_record, records_table
from assets.streams.contract import Delivery
from models.errors import SourceUnavailableError
from models.nearline import Position

GROUP = "freshet"
DOCUMENT = "event"
"""Field of an entry that holds the whole row as JSON; without it the fields of the entry are the row."""

MOST_COUNTED = 10_000
"""Waiting entries that are counted one by one, where Redis does not know how many there are."""

_COUNTED_AT_ONCE = 1_000
_SEQUENCE_BITS = 20
_FIRST = "0-0"

Entries = Sequence[tuple[str, Mapping[str, str]]]


class RedisStreamSource:
    """Entries of one stream, oldest first."""

    def __init__(self, url: str, stream: str) -> None:
        """Connect when first asked for something.

        Args:
            url: `redis://…`; it may hold a password, so it is never shown.
            stream: Key of the stream.
        """
        self.name = f"redis:{stream}"
        self._stream = stream
        self._client: Any = redis.Redis.from_url(
            url, decode_responses=True, socket_timeout=30, socket_connect_timeout=5
        )
        self._position = _FIRST
        self._in_flight = 0
        """Entries delivered and not acknowledged."""
        self._entries_read: int | None = None
        """Entries of the stream up to the last one acknowledged, those that were deleted included; None: not known."""

    def resume(self, position: Position) -> None:
        """Read on after a position; what a group's consumer left pending up to it is settled.

        Raises:
            SourceUnavailableError: Redis does not answer.
        """
        self._position, self._in_flight, self._entries_read = position.get("", _FIRST), 0, None
        with self._answering():
            self._follow(self._position)

    def poll(self, max_rows: int, timeout_s: float) -> Delivery | None:
        """The next entries.

        Raises:
            SourceUnavailableError: Redis does not answer.
        """
        with self._answering():
            found = self._client.xread({self._stream: self._position}, max_rows, max(1, int(timeout_s * 1000)))
        entries: Entries = found[0][1] if found else ()
        if not entries:
            return None
        delivery = Delivery(
            source=self.name,
            cells=records_table([_record(fields) for _, fields in entries]),
            origins=(self.name,) * len(entries),
            numbers=tuple(_number(entry) for entry, _ in entries),
            arrived_at=tuple(_moment(entry) for entry, _ in entries),
            before={} if self._position == _FIRST else {"": self._position},
            after={"": entries[-1][0]},
        )
        self._position = delivery.after[""]
        self._in_flight += len(entries)
        return delivery

    def acknowledge(self, delivery: Delivery) -> None:
        """Let the group follow, so that its lag is that of the lake."""
        if self._entries_read is not None:
            self._entries_read += len(delivery.numbers)
        with self._answering():
            self._follow(delivery.after[""])
        self._in_flight -= len(delivery.numbers)

    def backlog(self) -> int:
        """Entries that the lake does not have; beyond `MOST_COUNTED` only where Redis itself knows how many."""
        with self._answering():
            if not self._client.exists(self._stream):
                return self._in_flight
            lags = [group.get("lag") for group in self._client.xinfo_groups(self._stream) if group["name"] == GROUP]
            return int(lags[0]) if lags and lags[0] is not None else self._in_flight + self._waiting()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _waiting(self) -> int:
        """Entries after the last one delivered, as far as they are counted.

        Redis cannot tell once a group was put to an entry in the middle, unless it is told how many come before; which
        is known once all that wait were counted, and then counted on with each batch.
        """
        stream = self._client.xinfo_stream(self._stream)
        count, begin, end = 0, self._position, stream["last-generated-id"]
        while count < MOST_COUNTED:
            found: Entries = self._client.xrange(self._stream, f"({begin}", end, _COUNTED_AT_ONCE)
            count += len(found)
            if len(found) < _COUNTED_AT_ONCE:
                if "entries-added" in stream:  # from Redis 7 on
                    self._entries_read = stream["entries-added"] - count - self._in_flight
                break
            begin = found[-1][0]
        return count

    def _follow(self, position: str) -> None:
        try:
            self._client.xgroup_create(self._stream, GROUP, position, mkstream=True, entries_read=self._entries_read)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
            self._client.xgroup_setid(self._stream, GROUP, position, entries_read=self._entries_read)
        while pending := self._client.xpending_range(self._stream, GROUP, "-", position, 1000):
            self._client.xack(self._stream, GROUP, *(entry["message_id"] for entry in pending))

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (redis.RedisError, OSError) as error:
            raise SourceUnavailableError(
                f"{self.name}: Redis does not answer ({error}); see that it runs and that FRESHET_NEARLINE_REDIS_URL "
                "is its address"
            ) from error


def _record(fields: Mapping[str, str]) -> dict[str, object] | str:
    return json_record(fields[DOCUMENT]) if DOCUMENT in fields else dict(fields)


def _number(entry: str) -> int:
    """Id of an entry, `milliseconds-sequence`, as one number that orders alike."""
    milliseconds, sequence = entry.split("-")
    return (int(milliseconds) << _SEQUENCE_BITS) + int(sequence)


def _moment(entry: str) -> datetime:
    """When Redis took the entry, from its id, UTC without a zone."""
    return datetime.fromtimestamp(int(entry.split("-")[0]) / 1000, UTC).replace(tzinfo=None)
