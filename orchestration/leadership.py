"""Leading by a lease: the term is prolonged by a thread of its own, also while a long batch is made.

Only a candidate that goes on is prolonged: a thread would keep one that hangs the leader for ever.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from assets.lease import Lease, Term

LONGEST_STEP_S = 600.0
"""How long one step of a leader may take before it counts as hung, and its lease is left to run out.

The largest landing file, the load of a model and the encoding of many new texts take minutes. A longer step is not in
vain: what it commits counts unless another leader has taken the same in first.
"""

_LOG = logging.getLogger(__name__)


class Leadership:
    """The term of one candidate, while it has one.

    A lease that cannot be read or written for a moment is no reason to stop: the lake refuses a leader whose term has
    ended, and the next beat tries again. Likewise a step that was too long: unless another candidate leads by then, the
    same term goes on.
    """

    def __init__(self, lease: Lease, on_error: Callable[[Exception], None], *, longest_step_s: float) -> None:
        """Begin without a term; `with` prolongs what is taken, and gives it up at the end.

        Args:
            lease: The lease.
            on_error: Told of errors of the lease's file, also from the thread.
            longest_step_s: Seconds from one `step` to the next beyond which the term is not prolonged.
        """
        self._lease, self._on_error = lease, on_error
        self._longest_step, self._last_step = longest_step_s, time.monotonic()
        self._term: Term | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    @property
    def term(self) -> Term | None:
        """The term; None while this candidate does not lead."""
        return self._term

    @property
    def seconds_since_step(self) -> float:
        """How long the present step takes already."""
        return time.monotonic() - self._last_step

    def step(self) -> None:
        """The candidate goes on: a step begins."""
        self._last_step = time.monotonic()

    def take(self) -> bool:
        """Begin a term; False while somebody else leads."""
        try:
            self._term = self._lease.take(time.time())
        except sqlite3.Error as error:
            self._on_error(error)
        return self._term is not None

    def lose(self) -> None:
        """Another candidate has begun a term."""
        self._term = None

    def resign(self) -> None:
        """End the term, so that another candidate may begin at once."""
        term, self._term = self._term, None
        try:
            if term is not None:
                self._lease.give_up(term)
        except sqlite3.Error as error:
            _LOG.warning("the lease could not be given up, it runs out by itself: %s", error)

    def beat(self) -> None:
        """Prolong the term."""
        term = self._term
        try:
            if term is not None and self._lease.renew(term, time.time()) is None and self._term == term:
                self._term = None
        except sqlite3.Error as error:
            self._on_error(error)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.resign()

    def _run(self) -> None:
        while not self._ended.wait(self._lease.seconds / 3):
            if self.seconds_since_step < self._longest_step:
                self.beat()
            elif self._term is not None:
                _LOG.warning("nothing has moved for %.0f s; the lease is left to run out", self.seconds_since_step)
