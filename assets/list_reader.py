"""Reads published lists one by one, for services: from the mirror while it is fresh, else from the lake.

A mirror is fresh while it lacks no change of a list that is older than a few seconds. That is asked now and then by a
thread of its own, so that a read is one look-up; the lake is asked only where the mirror's own state does not tell.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self

import duckdb

from assets.lake import Lake
from assets.mirrors.contract import PAYLOAD, ListMirror, ServedList, microseconds, served_list
from assets.mirrors.filling import seconds_behind
from models.errors import FreshetError, MirrorError

MAX_LAG_S = 10.0
"""A mirror that lacks a change of a list for longer is not read."""
CHECK_EVERY_S = 5.0
"""How often the lake is asked whether the mirror lacks anything."""

_ONE = f"SELECT epoch_us(expires_at), {PAYLOAD} FROM serving.top_k WHERE surface = ? AND user_id = ?"


@dataclass(frozen=True)
class ReadList:
    """A list, and where it was found."""

    list: ServedList
    origin: Literal["mirror", "lake"]


class ListReader:
    """Reads lists of one surface; safe to share between threads."""

    def __init__(
        self,
        lake: Lake,
        mirror: ListMirror | None,
        *,
        surface: str,
        clock: Callable[[], datetime],
        max_lag_s: float = MAX_LAG_S,
        check_every_s: float = CHECK_EVERY_S,
        why_no_mirror: str = "no mirror is configured",
    ) -> None:
        """Ask the lake once whether the mirror is fresh, and again at an interval until `close`.

        Args:
            lake: The record of all lists.
            mirror: Its copy; None reads the lake alone.
            surface: Surface of the lists.
            clock: The present moment, UTC without a zone.
            max_lag_s: For how long the mirror may lack a change.
            check_every_s: Seconds between two questions.
            why_no_mirror: What `trouble` says where there is no mirror.
        """
        self._lake, self._mirror, self._surface, self._clock = lake, mirror, surface, clock
        self._max_lag = max_lag_s
        self.trouble = ""
        """Why the mirror is not read; empty while it is."""
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        if mirror is None:
            self.trouble = why_no_mirror
            return
        self.check()
        self._thread = threading.Thread(target=self._watch, args=(check_every_s,), name="mirror-check", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def read(self, user_id: str) -> ReadList | None:
        """The list of a user; None for a user without one. Only the lake's answer may have expired.

        Args:
            user_id: Pseudonym.

        Raises:
            LakeError: the mirror has no answer and the lake cannot be read.
        """
        found = self.read_mirror(user_id)
        if found is not None:
            return ReadList(found, "mirror")
        with self._lake.connect() as connection:
            rows = connection.execute(_ONE, [self._surface, user_id]).fetchall()
        if not rows:
            return None
        expires_at, payload = rows[0]
        return ReadList(served_list(self._surface, user_id, expires_at, payload), "lake")

    def read_mirror(self, user_id: str) -> ServedList | None:
        """The list of a user in the mirror; None where it has none that is fresh, see `trouble`."""
        if self._mirror is None or self.trouble:
            return None
        try:
            return self._mirror.read(self._surface, user_id, now=self._clock())
        except MirrorError as error:
            self.trouble = str(error)
            return None

    def check(self) -> None:
        """Ask whether the mirror is fresh, now."""
        assert self._mirror is not None
        try:
            behind = seconds_behind(self._lake, self._mirror, now=self._clock())
        except (FreshetError, duckdb.Error) as error:
            self.trouble = str(error)
            return
        if behind == float("inf"):
            self.trouble = "the mirror was never filled from this lake"
        else:
            is_late = behind > self._max_lag
            self.trouble = f"the mirror lacks changes of the last {behind:.0f} seconds" if is_late else ""

    def check_where_unclear(self) -> None:
        """Ask again, but for a mirror that was fresh and has been brought up to the lake since then.

        Asking takes a core for a tenth of a second, which reads would wait for.
        """
        if self.trouble or not self._is_recent():
            self.check()

    def close(self) -> None:
        """End the thread and give the mirror back."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        if self._mirror is not None:
            self._mirror.close()

    def _watch(self, seconds: float) -> None:
        while not self._closed.wait(seconds):
            self.check_where_unclear()

    def _is_recent(self) -> bool:
        """Whether the mirror is true up to a moment since which nothing it lacks can have become too old."""
        assert self._mirror is not None
        try:
            state = self._mirror.state()
        except MirrorError:
            return False
        return state is not None and microseconds(self._clock()) - state.committed_at <= self._max_lag * 1e6
