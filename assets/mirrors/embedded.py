"""The embedded mirror: an LMDB file beside the lake, read without a lock and without a service.

Its size is bounded: beyond the budget the lists that expire first go. An index by expiry finds them.
"""

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import lmdb
import orjson

from assets.mirrors.contract import Entry, MirrorState, ServedList, decode, encode, header, in_batches, microseconds
from models.errors import MirrorError

_BATCH = 1_000
"""Lists of one write transaction."""
_HEADROOM = 64 * 2**20
"""Room for the pages that a transaction copies."""
_STATE, _BYTES = b"state", b"bytes"

_OPEN: dict[tuple[int, Path], tuple[Any, int]] = {}
"""Environments of this process and how often each is held: LMDB must not open a file twice in one process."""
_OPENING = threading.Lock()


class EmbeddedMirror:
    """Lists in three tables of one LMDB file: by key, by expiry, and what is known of both."""

    def __init__(self, folder: Path, *, budget_bytes: int) -> None:
        """Open or make the store.

        Args:
            folder: Folder of the file; on a local disk, since LMDB does not work over a network.
            budget_bytes: Most bytes of lists, each counted with the pages that it takes.

        Raises:
            MirrorError: the file cannot be opened.
        """
        self._folder = folder.resolve()
        self._budget = budget_bytes
        with _explained(self._folder):
            self._environment = _opened(self._folder, budget_bytes + budget_bytes // 2 + _HEADROOM)
            self._lists = self._environment.open_db(b"lists")
            self._expiry = self._environment.open_db(b"expiry")
            self._facts = self._environment.open_db(b"facts")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def state(self) -> MirrorState | None:
        """Up to where the mirror is true."""
        with _explained(self._folder), self._environment.begin(db=self._facts) as transaction:
            found = transaction.get(_STATE)
        return None if found is None else MirrorState(**orjson.loads(found))

    def mark(self, state: MirrorState | None) -> None:
        """Say up to where it is true."""
        with self._writing() as transaction:
            if state is None:
                transaction.delete(_STATE, db=self._facts)
            else:
                transaction.put(_STATE, orjson.dumps(state), db=self._facts)

    def put(self, entries: Sequence[Entry], *, stamp: int, now: datetime) -> None:
        """Write lists over what users had; what has expired is removed instead."""
        earliest = microseconds(now)
        for some in in_batches(entries, _BATCH):
            with self._writing() as transaction:
                total = int(transaction.get(_BYTES, b"0", db=self._facts))
                for entry in some:
                    key = _key(entry.surface, entry.user_id)
                    total -= self._delete(transaction, key)
                    if entry.expires_at > earliest:
                        total += self._insert(transaction, key, entry, stamp)
                        total = self._evicted(transaction, total)
                transaction.put(_BYTES, str(total).encode(), db=self._facts)

    def remove(self, keys: Iterable[tuple[str, str]]) -> None:
        """Remove the lists of surfaces and users."""
        self._remove([_key(*key) for key in keys])

    def remove_others(self, stamp: int) -> None:
        """Remove lists with another stamp."""
        with _explained(self._folder), self._environment.begin(db=self._lists, buffers=True) as transaction:
            old = [bytes(key) for key, value in transaction.cursor() if header(value)[0] != stamp]
        self._remove(old)

    def remove_expired(self, now: datetime) -> None:
        """Remove what has expired."""
        end = _by_expiry(microseconds(now) + 1, b"")
        with _explained(self._folder), self._environment.begin(db=self._expiry) as transaction:
            old = [key[8:] for key in _until(transaction.cursor(), end)]
        self._remove(old)

    def read(self, surface: str, user_id: str, *, now: datetime) -> ServedList | None:
        """The list of a user."""
        with _explained(self._folder), self._environment.begin(db=self._lists) as transaction:
            value = transaction.get(_key(surface, user_id))
        return None if value is None else decode(surface, user_id, value, now=now)

    def count(self) -> int:
        """Lists that are kept."""
        with _explained(self._folder), self._environment.begin() as transaction:
            return int(transaction.stat(self._lists)["entries"])

    @property
    def size(self) -> int:
        """Bytes that the lists take, as counted against the budget."""
        with _explained(self._folder), self._environment.begin(db=self._facts) as transaction:
            return int(transaction.get(_BYTES, b"0"))

    def close(self) -> None:
        """Give the file back."""
        _give_back(self._folder)

    def _remove(self, keys: Sequence[bytes]) -> None:
        for some in in_batches(keys, _BATCH):
            with self._writing() as transaction:
                total = int(transaction.get(_BYTES, b"0", db=self._facts))
                total -= sum(self._delete(transaction, key) for key in some)
                transaction.put(_BYTES, str(total).encode(), db=self._facts)

    def _insert(self, transaction: Any, key: bytes, entry: Entry, stamp: int) -> int:
        """Add one list with its place in the index; returns the bytes that it takes."""
        value = encode(entry, stamp)
        transaction.put(key, value, db=self._lists)
        transaction.put(_by_expiry(entry.expires_at, key), b"", db=self._expiry)
        return _pages(key, value)

    def _delete(self, transaction: Any, key: bytes) -> int:
        """Remove one list with its place in the index; returns the bytes freed."""
        old: bytes | None = transaction.pop(key, db=self._lists)
        if old is None:
            return 0
        transaction.delete(_by_expiry(header(old)[1], key), db=self._expiry)
        return _pages(key, old)

    def _evicted(self, transaction: Any, total: int) -> int:
        """Drop the lists that expire first until the budget holds; returns the bytes that are left."""
        while total > self._budget:
            cursor = transaction.cursor(db=self._expiry)
            if not cursor.first():
                return 0
            total -= self._delete(transaction, bytes(cursor.key())[8:])
        return total

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        with _explained(self._folder), self._environment.begin(write=True) as transaction:
            yield transaction


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except lmdb.MapFullError as error:
        raise MirrorError(f"the mirror {folder} is full; raise FRESHET_MIRROR_MB, or delete the folder") from error
    except (lmdb.Error, OSError) as error:
        raise MirrorError(
            f"the mirror {folder} cannot be used: {error}; it is a copy, so delete the folder and the next publication "
            "fills it again, or set FRESHET_MIRROR=off"
        ) from error


def _key(surface: str, user_id: str) -> bytes:
    return f"{surface}\0{user_id}".encode()


def _by_expiry(expires_at: int, key: bytes) -> bytes:
    return max(expires_at, 0).to_bytes(8, "big") + key


def _until(cursor: Any, end: bytes) -> Iterator[bytes]:
    for key in cursor.iternext(keys=True, values=False):
        if key >= end:
            return
        yield bytes(key)


def _pages(key: bytes, value: bytes) -> int:
    """Bytes that a list takes: pages of its own when long, else its share of half-filled ones; and its index entry."""
    size = len(key) + len(value) + 16
    return (-(-size // 4096) * 4096 if size > 1_000 else 2 * size) + 2 * (len(key) + 24)


def _opened(folder: Path, map_size: int) -> Any:
    with _OPENING:
        place = (os.getpid(), folder)
        environment, holders = _OPEN.get(place, (None, 0))
        if environment is None:
            folder.mkdir(parents=True, exist_ok=True)
            environment = lmdb.open(str(folder), map_size=map_size, max_dbs=3, max_readers=512)
            # Slots of readers that were killed would keep old pages alive.
            environment.reader_check()
        _OPEN[place] = (environment, holders + 1)
        return environment


def _give_back(folder: Path) -> None:
    with _OPENING:
        place = (os.getpid(), folder)
        environment, holders = _OPEN.pop(place, (None, 0))
        if environment is not None and holders > 1:
            _OPEN[place] = (environment, holders - 1)
        elif environment is not None:
            environment.close()
