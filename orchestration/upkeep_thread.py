"""Runs the upkeep of the nearline lane's files beside its batches."""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import duckdb

from assets.nearline_upkeep import Upkeep
from models.errors import FreshetError

_LOG = logging.getLogger(__name__)


class UpkeepThread:
    """One step at a time in a thread of its own; a batch waits for it only when it comes to write."""

    def __init__(self, upkeep: Upkeep, *, on_error: Callable[[Exception], None]) -> None:
        """Begin with nothing under way.

        Args:
            upkeep: Knows what is due.
            on_error: Told of each step that failed; it is due again at once.
        """
        self._upkeep, self._on_error = upkeep, on_error
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="upkeep")
        self._step: Future[bool] | None = None

    def count(self, snapshot: int) -> None:
        """A batch was committed as `snapshot`."""
        self._upkeep.count(snapshot)

    def begin_if_due(self) -> None:
        """Begin a step where one is due and none runs."""
        if self._step is not None:
            if not self._step.done():
                return
            self._end(self._step)
        self._step = self._pool.submit(self._upkeep.run_if_due) if self._upkeep.is_due else None

    def close(self) -> None:
        """Wait for the step under way, if any; no other may begin."""
        self._pool.shutdown()
        if self._step is not None:
            self._end(self._step)

    def _end(self, step: Future[bool]) -> None:
        try:
            step.result()
        except (FreshetError, duckdb.Error) as error:
            # Batches do not need it; what stands in its way shows in the metrics.
            _LOG.warning("files were not put together: %s", error)
            self._on_error(error)
