"""Child processes that live as long as one command: each in a group of its own, all stopped together.

Where the command is killed, the kernel asks them to end.
"""

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from assets.bound_process import bound_command
from models.errors import ConfigurationError

_GRACE_SECONDS = 15.0
_POLL_SECONDS = 0.25
_LOG_TAIL = 1_500


@dataclass(frozen=True)
class Service:
    """One program to run."""

    name: str
    command: Sequence[str]
    url: str
    """Address that people open; empty for one without."""

    says: str
    """What is there."""

    ready_url: str = ""
    """Address that answers once it is up; empty: it counts as up at once."""


@dataclass
class ChildProcesses:
    """Runs services; leaving the block stops them all, with their own children."""

    logs: Path
    environment: Mapping[str, str]
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        """Nothing runs yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ask all to end, and kill those that have not after 15 seconds."""
        for process in self._running.values():
            _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        for process in self._running.values():
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                continue
        for process in self._running.values():
            # Also where the leader has ended: a child of its own may not have.
            _signal_group(process, signal.SIGKILL)
            process.wait()

    def start(self, service: Service) -> None:
        """Start a service; its output goes to `<logs>/<name>.log`."""
        self.logs.mkdir(parents=True, exist_ok=True)
        with (self.logs / f"{service.name}.log").open("wb") as log:
            self._running[service.name] = subprocess.Popen(
                bound_command(service.command, signal.SIGTERM),
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C reaches this process only, which then stops the group in order.
                start_new_session=True,
            )

    def wait_until_ready(self, service: Service, timeout_s: float) -> None:
        """Wait until a service answers.

        Raises:
            ConfigurationError: it ended or did not answer in time; shows the end of its log.
        """
        deadline = time.monotonic() + timeout_s
        while service.ready_url and not _answers(service.ready_url):
            self.check()
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    f"{service.name} did not answer at {service.ready_url} within {timeout_s:g} s; "
                    f"see {self._log(service.name)}"
                )
            time.sleep(_POLL_SECONDS)

    def check(self) -> None:
        """Make sure that all are alive.

        Raises:
            ConfigurationError: one has ended; shows the end of its log.
        """
        for name, process in self._running.items():
            code = process.poll()
            if code is not None:
                tail = self._log(name).read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL:]
                raise ConfigurationError(f"{name} ended with code {code}; the end of {self._log(name)}:\n{tail}")

    def watch(self, is_over: Callable[[], bool]) -> None:
        """Wait until `is_over`, checking meanwhile that all are alive."""
        while not is_over():
            self.check()
            time.sleep(_POLL_SECONDS)

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status < 400)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
