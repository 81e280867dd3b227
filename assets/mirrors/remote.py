"""The mirror in Redis, for services on other hosts. Redis itself removes what has expired.

Its memory is bounded by the server: set `maxmemory`, and `maxmemory-policy volatile-ttl` to let the lists go first that
expire first. What Redis lacks is read from the lake.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Self

import orjson
import redis

from assets.mirrors.contract import Entry, MirrorState, ServedList, decode, encode, header, in_batches, microseconds
from models.errors import MirrorError

_BATCH = 1_000
"""Commands of one round trip."""


class RedisMirror:
    """Lists as one key each, under a name of their lake."""

    def __init__(self, url: str, *, name: str) -> None:
        """Connect when first asked for something.

        Args:
            url: `redis://…`; it may hold a password, so it is never shown.
            name: Tells the lists of several lakes in one Redis apart.
        """
        self._client: Any = redis.Redis.from_url(url, socket_timeout=10, socket_connect_timeout=5)
        self._prefix = f"freshet:{name}:"
        self._state = f"{self._prefix}state"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def state(self) -> MirrorState | None:
        """Up to where the mirror is true."""
        with _answering():
            found = self._client.get(self._state)
        return None if found is None else MirrorState(**orjson.loads(found))

    def mark(self, state: MirrorState | None) -> None:
        """Say up to where it is true."""
        with _answering():
            if state is None:
                self._client.delete(self._state)
            else:
                self._client.set(self._state, orjson.dumps(state))

    def put(self, entries: Sequence[Entry], *, stamp: int, now: datetime) -> None:
        """Write lists over what users had; what has expired is removed instead."""
        earliest = microseconds(now)
        for some in in_batches(entries, _BATCH):
            with _answering():
                pipeline = self._client.pipeline(transaction=False)
                for entry in some:
                    key = self._key(entry.surface, entry.user_id)
                    if entry.expires_at > earliest:
                        pipeline.set(key, encode(entry, stamp), pxat=-(-entry.expires_at // 1000))
                    else:
                        pipeline.delete(key)
                pipeline.execute()

    def remove(self, keys: Iterable[tuple[str, str]]) -> None:
        """Remove the lists of surfaces and users."""
        self._remove([self._key(*key).encode() for key in keys])

    def remove_others(self, stamp: int) -> None:
        """Remove lists with another stamp."""
        for keys in in_batches(self._keys(), _BATCH):
            with _answering():
                pipeline = self._client.pipeline(transaction=False)
                for key in keys:
                    pipeline.getrange(key, 0, 15)
                heads = pipeline.execute()
            # One that expired in between has no head any more.
            self._remove([key for key, head in zip(keys, heads, strict=True) if head and header(head)[0] != stamp])

    def remove_expired(self, now: datetime) -> None:
        """Nothing to do: Redis does it."""

    def read(self, surface: str, user_id: str, *, now: datetime) -> ServedList | None:
        """The list of a user."""
        with _answering():
            value = self._client.get(self._key(surface, user_id))
        return None if value is None else decode(surface, user_id, value, now=now)

    def count(self) -> int:
        """Lists that are kept; looks at every key."""
        return sum(1 for _ in self._keys())

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _key(self, surface: str, user_id: str) -> str:
        return f"{self._prefix}list:{surface}:{user_id}"

    def _keys(self) -> Iterator[bytes]:
        with _answering():
            yield from self._client.scan_iter(match=f"{self._prefix}list:*", count=_BATCH)

    def _remove(self, keys: Sequence[bytes]) -> None:
        for some in in_batches(keys, _BATCH):
            with _answering():
                self._client.unlink(*some)


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except redis.exceptions.OutOfMemoryError as error:
        raise MirrorError(
            "the Redis with the mirror is full; raise its maxmemory, or set maxmemory-policy to volatile-ttl so that "
            "lists go which expire first"
        ) from error
    except redis.RedisError as error:
        raise MirrorError(
            f"the Redis with the mirror does not answer: {error}; check FRESHET_MIRROR, lists are read from the lake "
            "until it does"
        ) from error
