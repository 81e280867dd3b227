"""Workers of `freshet nearline` as a benchmark runs them: started, asked, killed, and what they left in the lake."""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import redis
from prometheus_client.parser import text_string_to_metric_families

from assets.lake import BOOKKEEPING
from assets.pending_days import pending_days
from assets.source_positions import SourceProgress, read_progress
from orchestration.home import open_lake
from orchestration.settings import Settings

COMPARED = {
    "raw.events": (),
    "quarantine.rows": (),
    "serving.top_k": ("input_snapshot",),
}
"""Tables that a batch writes, and the columns of each that say when it was written."""
_START_S = 600.0


@dataclass
class Worker:
    """One process of `freshet nearline`."""

    settings: Settings
    log: Path
    stream: str = ""
    redis_url: str = ""
    """Address of the Redis with the stream; empty: landing files alone."""
    port: int = field(default_factory=lambda: _free_port())
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it; it leads when nobody else does."""
        environment = {
            **os.environ,
            "FRESHET_HOME": str(self.settings.root),
            "FRESHET_NEARLINE_REDIS_URL": self.redis_url,
            "FRESHET_NEARLINE_REDIS_STREAM": self.stream,
        }
        words = [str(Path(sys.executable).with_name("freshet")), "nearline", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)

    def health(self) -> dict[str, Any]:
        """What its health page says; empty while there is none."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            return dict(json.load(error))
        except OSError:
            return {}

    def metrics(self) -> dict[str, float]:
        """Values of its metrics, those of one name added up."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        values: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                values[sample.name] = values.get(sample.name, 0.0) + sample.value
        return values

    def memory_mib(self) -> float:
        """Resident memory."""
        assert self.process is not None
        return float(psutil.Process(self.process.pid).memory_info().rss) / 2**20

    def wait_until_warm(self) -> None:
        """Wait until it leads, has a model loaded and has read users ahead."""
        deadline = time.monotonic() + _START_S
        while not (health := self.health()).get("leads") or not health.get("is_warm"):
            self.check(deadline)
            time.sleep(0.2)

    def wait_until_read(self, rows: int) -> None:
        """Wait until the lake has taken in so many rows of the stream."""
        deadline = time.monotonic() + _START_S
        while rows_read(self.settings, self.stream) < rows:
            self.check(deadline)
            time.sleep(0.5)

    def check(self, deadline: float) -> None:
        """Raise when it has ended, or when the time is over."""
        assert self.process is not None
        if self.process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the worker ended or took too long; the end of its log:\n{self.log.read_text()[-2000:]}")

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait; returns its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=_START_S)


@contextmanager
def running(worker: Worker) -> Iterator[Worker]:
    """A worker that leads inside the block, and ends with it."""
    worker.start()
    try:
        worker.wait_until_warm()
        yield worker
    finally:
        if worker.process is not None and worker.process.poll() is None:
            worker.end()


@contextmanager
def existing(stream: str, url: str) -> Iterator[str]:
    """A stream that is deleted at the end."""
    client = redis.Redis.from_url(url)
    client.ping()
    try:
        yield stream
    finally:
        client.delete(stream)


def worker_of(settings: Settings, stream: str, url: str, number: int = 0) -> Worker:
    """One of the workers of a home; it logs beside the home folder."""
    return Worker(settings, settings.root.with_name(f"{settings.root.name}-worker{number}.log"), stream, url)


def sending(
    settings: Settings, stream: str, options: argparse.Namespace, seconds: float, *, seed: int, fixed: bool = False
) -> "subprocess.Popen[bytes]":
    """Events of a benchmark's options, sent by a process of its own, which prints what it sent."""
    words = [sys.executable, str(Path(__file__).with_name("nearline_load.py")), "--home", str(settings.root)]
    words += ["--stream", stream, "--redis", options.redis, "--seed", str(seed)]
    words += ["--rate", str(options.rate), "--seconds", str(seconds), "--order", options.order]
    return subprocess.Popen([*words, "--fixed"] if fixed else words, stdout=subprocess.PIPE)


def rows_read(settings: Settings, stream: str) -> int:
    """Rows of a stream that the lake has taken in, whatever became of them."""
    return sum(progress.rows_in for progress in _progress(settings, f"redis:{stream}").values())


def tables(settings: Settings, stream: str) -> dict[str, str]:
    """Content of all that a batch writes, in whatever terms of leaders."""
    lake = open_lake(settings)
    found = {name: lake.fingerprint(name, exclude=(*BOOKKEEPING, *own)) for name, own in COMPARED.items()}
    progress = [replace(part, epoch=0) for part in _progress(settings, f"redis:{stream}").values()]
    return {**found, "ops.pending_days": str(pending_days(lake)), "ops.nearline_positions": str(progress)}


def _progress(settings: Settings, source: str) -> SourceProgress:
    with open_lake(settings).connect() as connection:
        return read_progress(connection, source)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
