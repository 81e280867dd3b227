"""Redis Streams as a source of the nearline lane.

Entries are read in order after the id that the lake keeps, not through a consumer group: a group hands each entry to
one reader, so a second worker started by mistake would take entries from the first. The group `freshet` only follows
behind, so that Redis' own tools show the lag, and trimming by it is safe. What was trimmed before it was read is told
as an error, once.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import redis

from assets.landing_text import json_record, records_table
from assets.streams.contract import Delivery
from assets.streams.removed_entries import BEGINNING, StreamState, removed_unread
from models.errors import SourceGapError, SourceUnavailableError
from models.nearline import Position

GROUP = "freshet"
DOCUMENT = "event"
"""Field of an entry that holds the whole row as JSON; without it the fields of the entry are the row."""

MOST_COUNTED = 10_000
"""Waiting entries that are counted one by one, where Redis does not know how many there are."""

_COUNTED_AT_ONCE = 1_000
_SEQUENCE_BITS = 20
_KEEP_BYTES = "surrogateescape"
"""What is not UTF-8 is read all the same, so that it is one bad row, not a stream that cannot be read."""
_NO_UTF8 = re.compile("[\\udc80-\\udcff]")
"""What `_KEEP_BYTES` makes of bytes that are no text."""

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
            url, decode_responses=True, encoding_errors=_KEEP_BYTES, socket_timeout=30, socket_connect_timeout=5
        )
        self._position = BEGINNING
        self._in_flight = 0
        """Entries delivered and not acknowledged."""
        self._entries_read: int | None = None
        """Entries ever added up to the last one delivered, those that were removed included; None: not known."""
        self._is_resumed = True

    def resume(self, position: Position) -> None:
        """Read on after a position; what a group's consumer left pending up to it is settled.

        Raises:
            SourceUnavailableError: Redis does not answer.
        """
        self._position, self._in_flight, self._is_resumed = position.get("", BEGINNING), 0, True
        with self._answering():
            group = self._group() or {}
            follows = group.get("last-delivered-id") == self._position != BEGINNING
            self._entries_read = group.get("entries-read") if follows else None
            self._follow(self._position)

    def poll(self, max_rows: int, timeout_s: float) -> Delivery | None:
        """The next entries.

        Raises:
            SourceUnavailableError: Redis does not answer.
            SourceGapError: entries were removed before they were read; the next call goes on with what is left.
        """
        with self._answering():
            entries = self._read(max_rows) or self._wait(max_rows, timeout_s)
        if not entries:
            return None
        delivery = Delivery(
            source=self.name,
            cells=records_table([_record(fields) for _, fields in entries]),
            origins=(self.name,) * len(entries),
            numbers=tuple(_number(entry) for entry, _ in entries),
            arrived_at=tuple(_moment(entry) for entry, _ in entries),
            before={} if self._position == BEGINNING else {"": self._position},
            after={"": entries[-1][0]},
        )
        self._position = delivery.after[""]
        self._in_flight += len(entries)
        if self._entries_read is not None:
            self._entries_read += len(entries)
        return delivery

    def acknowledge(self, delivery: Delivery) -> None:
        """Let the group follow, so that its lag is that of the lake."""
        with self._answering():
            self._follow(delivery.after[""], in_flight=self._in_flight - len(delivery.numbers))
        self._in_flight -= len(delivery.numbers)

    def backlog(self) -> int:
        """Entries that the lake does not have; beyond `MOST_COUNTED` only where Redis itself knows how many."""
        with self._answering():
            group = self._group()
            if group is None:
                return self._in_flight
            lag = group.get("lag")
            return self._in_flight + self._waiting() if lag is None else int(lag)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _read(self, max_rows: int) -> Entries:
        """What is there already, read at one moment with the state of the stream.

        Raises:
            SourceGapError: entries after the position were removed.
        """
        pipeline = self._client.pipeline(transaction=True)
        pipeline.xinfo_stream(self._stream)
        pipeline.xread({self._stream: self._position}, max_rows)
        answer, found = pipeline.execute(raise_on_error=False)
        for error in (answer, found):
            if isinstance(error, Exception) and not _is_missing(error):
                raise error
        entries: Entries = found[0][1] if found else ()
        state = StreamState.of(None if isinstance(answer, Exception) else answer)
        self._look_for_gap(state, entries, max_rows)
        return entries

    def _wait(self, max_rows: int, timeout_s: float) -> Entries:
        """What comes within the time."""
        found = self._client.xread({self._stream: self._position}, max_rows, max(1, int(timeout_s * 1000)))
        return found[0][1] if found else ()

    def _look_for_gap(self, state: StreamState, entries: Entries, max_rows: int) -> None:
        left = state.left_after(self._position, found=len(entries), asked=max_rows)
        removed = removed_unread(state, self._position, read=self._entries_read, left=left, is_resumed=self._is_resumed)
        self._is_resumed = False
        if left is not None:
            self._entries_read = None if state.added is None else state.added - left
        elif removed:
            self._entries_read = None
        if removed:
            rest = f"what is left begins with {entries[0][0]}" if entries else "nothing is left"
            raise SourceGapError(
                f"{self.name}: the lake has it up to {self._position}, but {removed}; {rest}, and is read on. Let the "
                f"stream keep more (MAXLEN), or trim it by MINID, to the last-delivered-id of its group `{GROUP}`; "
                "what is missing can be landed as a file, since events that are there already are not taken twice"
            )

    def _group(self) -> Mapping[str, Any] | None:
        """What Redis knows of the group; empty without a group, None without a stream."""
        try:
            groups = self._client.xinfo_groups(self._stream)
        except redis.ResponseError as error:
            if _is_missing(error):
                return None
            raise
        return next((group for group in groups if group["name"] == GROUP), {})

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
                if self._entries_read is None and "entries-added" in stream:  # from Redis 7 on
                    self._entries_read = stream["entries-added"] - count
                break
            begin = found[-1][0]
        return count

    def _follow(self, position: str, *, in_flight: int = 0) -> None:
        """Put the group to a position, after which so many entries were delivered."""
        read = None if self._entries_read is None else max(0, self._entries_read - in_flight)
        try:
            self._client.xgroup_create(self._stream, GROUP, position, mkstream=True, entries_read=read)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
            self._client.xgroup_setid(self._stream, GROUP, position, entries_read=read)
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


def _is_missing(error: Exception) -> bool:
    return "no such key" in str(error)


def _record(fields: Mapping[str, str]) -> dict[str, object] | str:
    if DOCUMENT in fields:
        return json_record(fields[DOCUMENT])
    if any(_NO_UTF8.search(text) for pair in fields.items() for text in pair):
        return "not valid UTF-8"
    return dict(fields)


def _number(entry: str) -> int:
    """Id of an entry, `milliseconds-sequence`, as one number that orders alike."""
    milliseconds, sequence = entry.split("-")
    return (int(milliseconds) << _SEQUENCE_BITS) + int(sequence)


def _moment(entry: str) -> datetime:
    """When Redis took the entry, from its id, UTC without a zone."""
    return datetime.fromtimestamp(int(entry.split("-")[0]) / 1000, UTC).replace(tzinfo=None)
