"""What every mirror of the published lists promises.

A mirror is a copy, never the record: it is filled from the lake's own changes, knows the snapshot that it is true for,
and may be deleted at any time. It never answers with an expired list; what it lacks is read from the lake.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Protocol, TypeVar

import orjson

Part = TypeVar("Part")

_EPOCH = datetime(1970, 1, 1)
_HEADER = struct.Struct(">qq")

PAYLOAD = """to_json({
    'item_ids': list_transform(items, lambda entry: entry.item_id),
    'scores': list_transform(items, lambda entry: entry.score),
    'sources': list_transform(items, lambda entry: entry.source),
    'reasons': list_transform(items, lambda entry: entry.reason),
    'propensities': list_transform(items, lambda entry: entry.propensity),
    'model_version': model_version, 'index_version': index_version, 'input_snapshot': input_snapshot, 'lane': lane,
    'generated_at': epoch_us(generated_at), 'last_event_at': epoch_us(last_event_at)
})::VARCHAR"""
"""SQL expression over `serving.top_k`: a list as a mirror keeps it. Contributions stay in the lake: they would make an
entry five times as large."""


@dataclass(frozen=True)
class ServedList:
    """A published list as services read it, the same from a mirror and from the lake."""

    surface: str
    user_id: str
    item_ids: tuple[str, ...]
    """Best first."""
    scores: tuple[float, ...]
    sources: tuple[str, ...]
    reasons: tuple[str, ...]
    propensities: tuple[float | None, ...]
    model_version: str
    index_version: str
    input_snapshot: int
    lane: str
    generated_at: datetime
    expires_at: datetime
    last_event_at: datetime | None


@dataclass(frozen=True)
class MirrorState:
    """Up to where a mirror is true."""

    snapshot: int
    """Every change of the lists up to this snapshot of the lake is in the mirror."""
    committed_at: int
    """When that snapshot was committed, microseconds since 1970: tells lakes apart that count the same numbers."""


@dataclass(frozen=True)
class Entry:
    """A list on its way into a mirror."""

    surface: str
    user_id: str
    expires_at: int
    """Microseconds since 1970 UTC."""
    payload: bytes
    """`PAYLOAD` of the list."""


class ListMirror(Protocol):
    """A key-value store with the published lists of one lake.

    Writers take turns by the lock of `assets.mirrors.filling`; readers need none and are never blocked.
    """

    def state(self) -> MirrorState | None:
        """Up to where the mirror is true; None for one that was never filled whole."""
        ...

    def mark(self, state: MirrorState | None) -> None:
        """Say up to where it is true."""
        ...

    def put(self, entries: Sequence[Entry], *, stamp: int, now: datetime) -> None:
        """Write lists over what users had.

        Args:
            entries: The lists; those that have expired are removed instead.
            stamp: `committed_at` of the snapshot that they were read at.
            now: The present moment, UTC without a zone.

        Raises:
            MirrorError: the store cannot be written.
        """
        ...

    def remove(self, keys: Iterable[tuple[str, str]]) -> None:
        """Remove the lists of surfaces and users; unknown ones are ignored."""
        ...

    def remove_others(self, stamp: int) -> None:
        """Remove lists with another stamp."""
        ...

    def remove_expired(self, now: datetime) -> None:
        """Remove what has expired, where the store does not do it by itself."""
        ...

    def read(self, surface: str, user_id: str, *, now: datetime) -> ServedList | None:
        """The list of a user; None where there is none that has not expired."""
        ...

    def count(self) -> int:
        """Lists that are kept."""
        ...

    def close(self) -> None:
        """Give connections and files back."""
        ...


def encode(entry: Entry, stamp: int) -> bytes:
    """An entry as both stores keep it: stamp and expiry, 8 bytes each, then the payload."""
    return _HEADER.pack(stamp, entry.expires_at) + entry.payload


def header(value: bytes) -> tuple[int, int]:
    """Stamp and expiry (microseconds since 1970) of a stored value."""
    stamp, expires_at = _HEADER.unpack_from(value)
    return stamp, expires_at


def decode(surface: str, user_id: str, value: bytes, *, now: datetime) -> ServedList | None:
    """The list in a stored value; None where it has expired."""
    expires_at = header(value)[1]
    if expires_at <= microseconds(now):
        return None
    return served_list(surface, user_id, expires_at, value[_HEADER.size :])


def served_list(surface: str, user_id: str, expires_at: int, payload: bytes | str) -> ServedList:
    """The list in a `PAYLOAD`."""
    fields: dict[str, Any] = orjson.loads(payload)
    lists = {name: tuple(values) for name, values in fields.items() if isinstance(values, list)}
    last = fields["last_event_at"]
    moments = {
        "generated_at": moment(fields["generated_at"]),
        "last_event_at": None if last is None else moment(last),
        "expires_at": moment(expires_at),
    }
    return ServedList(**{**fields, **lists, **moments, "surface": surface, "user_id": user_id})


def microseconds(at: datetime) -> int:
    """A UTC time without a zone as microseconds since 1970."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def moment(value: int) -> datetime:
    """Microseconds since 1970 as a UTC time without a zone."""
    return _EPOCH + timedelta(microseconds=value)


def in_batches(parts: Iterable[Part], size: int) -> Iterator[list[Part]]:
    """Parts in lists of at most `size`."""
    rest = iter(parts)
    while batch := list(islice(rest, size)):
        yield batch
