"""Settings → the mirror of the lists: who fills it beside the worker, and who reads it."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Self

from assets.domain import load_domain
from assets.lake import Lake
from assets.list_reader import ListReader
from assets.mirrors.contract import ListMirror
from assets.mirrors.filling import FillReport, catch_up
from assets.mirrors.held_lists import CommittedLists, HeldLists
from assets.mirrors.publishing import NOT_MIRRORED
from assets.resources import MirrorResource
from assets.warm_lake import warmed
from models.errors import MirrorError
from orchestration.home import open_lake
from orchestration.nearline_lane import utc_now
from orchestration.nearline_metrics import NearlineMetrics
from orchestration.settings import Settings, load_settings

ListsCommitted = Callable[[int, CommittedLists | None], None]

EVERY_S = 1.0
"""Seconds from one filling to the next, at least: what a filling costs hardly depends on the number of lists."""
RECHECK_S = 10.0
"""How often a follower looks at the lake without being told."""
RETRY_S = 0.5
"""Seconds until a filling that failed is tried again."""

_LOG = logging.getLogger(__name__)


def mirror_resource(settings: Settings) -> MirrorResource:
    """Which mirror a home folder has, for whoever publishes outside of the batch lane's code location."""
    return MirrorResource(
        kind=settings.mirror.get_secret_value(), path=str(settings.mirror_path), budget_mb=settings.mirror_mb
    )


def mirror_of(settings: Settings) -> ListMirror | None:
    """The mirror of a home folder; None where it is off."""
    return mirror_resource(settings).open(open_lake(settings))


def open_list_reader(settings: Settings | None = None) -> ListReader:
    """A reader of the lists of a home folder, for services; close it, or use it in `with`.

    A mirror that cannot be opened is no error: the reader's `trouble` says why, and the lake answers.

    Args:
        settings: The home folder's; read from the environment when None.
    """
    chosen = settings or load_settings()
    surface = load_domain(chosen.domain).surface
    try:
        mirror, why_not = mirror_of(chosen), "no mirror is configured"
    except MirrorError as error:
        mirror, why_not = None, str(error)
    return ListReader(open_lake(chosen), mirror, surface=surface, clock=utc_now, why_no_mirror=why_not)


@contextmanager
def followed_mirror(settings: Settings, metrics: NearlineMetrics) -> Iterator[ListsCommitted]:
    """Fill the mirror of a home folder while a worker runs; yields what to call after each commit.

    It is called with the snapshot, and with what the commit did to the lists; None has that read from the lake.
    """
    mirror = mirror_of(settings)
    if mirror is None:
        yield lambda snapshot, lists: None
        return
    follower = MirrorFollower(
        warmed(open_lake(settings)), mirror, now=utc_now, on_filled=metrics.mirrored, on_error=metrics.error
    )
    with follower:
        yield follower.committed


class MirrorFollower:
    """Fills a mirror from a thread of its own, so that no batch waits for it; several commits become one filling."""

    def __init__(
        self,
        lake: Lake,
        mirror: ListMirror,
        *,
        now: Callable[[], datetime],
        on_filled: Callable[[FillReport], None],
        on_error: Callable[[Exception], None],
        every_s: float = EVERY_S,
        recheck_s: float = RECHECK_S,
    ) -> None:
        """Bind everything; the thread runs inside `with`, which ends after a last filling.

        Args:
            lake: The record.
            mirror: Its copy; closed at the end.
            now: Clock of the edge.
            on_filled: Told of each filling.
            on_error: Told of each that failed; it is tried again.
            every_s: Seconds between two fillings, at least.
            recheck_s: Seconds after which the lake is looked at without a call of `committed`.
        """
        self._lake, self._mirror, self._now = lake, mirror, now
        self._on_filled, self._on_error = on_filled, on_error
        self._every, self._recheck = every_s, recheck_s
        self._held = HeldLists()
        self._news, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._news.set()
        self._thread.join()
        self._mirror.close()

    def committed(self, snapshot: int, lists: CommittedLists | None) -> None:
        """Lists were committed by this process.

        Args:
            snapshot: In which.
            lists: All that it did to them; None where that is to be read from the lake.
        """
        if lists is not None:
            self._held.add(snapshot, lists)
        self._news.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            is_filled = self._fill()
            self._ended.wait(self._every - (time.monotonic() - began))
            self._news.wait(self._recheck if is_filled else RETRY_S)
            self._news.clear()
        self._fill()

    def _fill(self) -> bool:
        try:
            self._on_filled(catch_up(self._lake, self._mirror, now=self._now(), held=self._held))
        except NOT_MIRRORED as error:
            # Such as a catalogue that is locked by a commit.
            _LOG.warning("%s", error)
            self._on_error(error)
            return False
        return True
