"""Something large that is loaded in a thread of its own, while what it is to replace goes on working.

One load runs at a time, so there are never more than two of what is loaded: the one in use and the one that comes.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

Result = TypeVar("Result")
IsWanted = Callable[[], bool]

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
"""Seconds from a load that failed to the next try; they double from one to the other."""


@dataclass(frozen=True)
class _Job(Generic[Result]):
    key: str
    future: Future[Result | None]
    is_dropped: threading.Event


class BackgroundLoad(Generic[Result]):
    """Loads what belongs to a key; all methods are for one thread, the one that uses what is loaded."""

    def __init__(
        self,
        load: Callable[[str, IsWanted], Result | None],
        *,
        on_failure: Callable[[Exception], None],
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        """Begin with nothing to load.

        Args:
            load: Gets a key and what says whether the load is still wanted; it may answer None once it is not.
            on_failure: Told of each load that failed; it is tried again.
            first_pause_s: Seconds until the first further try.
        """
        self._load, self._on_failure = load, on_failure
        self._first_pause = first_pause_s
        self._executor: ThreadPoolExecutor | None = None
        self._job: _Job[Result] | None = None
        self._failures, self._not_before = 0, 0.0
        self.error = ""
        """Of the last load, where it failed and no later one has succeeded."""

    def take(self, key: str) -> Result | None:
        """What belongs to a key, once it is loaded; until then None, and it is loaded, or tried again after a failure.

        A load of another key that is under way is dropped first.
        """
        job = self._job
        if job is not None and job.key != key:
            job.is_dropped.set()
        if job is not None and job.future.done():
            self._job = None
            taken = self._result(job)
            if taken is not None and not job.is_dropped.is_set():
                return taken
            # Nothing of it may be held while another one is loaded.
            job = taken = None
        if job is None and time.monotonic() >= self._not_before:
            self._begin(key)
        return None

    def drop(self) -> None:
        """Load nothing any more until the next `take`; what is under way ends at its next step, failures are past."""
        if self._job is not None:
            self._job.is_dropped.set()
        self._failures, self._not_before, self.error = 0, 0.0, ""

    def close(self) -> None:
        """Drop what is loaded, and wait for the step that is under way."""
        self.drop()
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
        self._executor = self._job = None

    def _begin(self, key: str) -> None:
        is_dropped = threading.Event()
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="load")
        future = self._executor.submit(self._load, key, lambda: not is_dropped.is_set())
        self._job = _Job(key, future, is_dropped)

    def _result(self, job: _Job[Result]) -> Result | None:
        error = job.future.exception()
        if error is None:
            self._failures, self._not_before, self.error = 0, 0.0, ""
            return job.future.result()
        if not isinstance(error, Exception):
            raise error
        self._not_before = time.monotonic() + min(LONGEST_PAUSE_S, self._first_pause * 2**self._failures)
        self._failures, self.error = self._failures + 1, str(error)
        self._on_failure(error)
        return None
