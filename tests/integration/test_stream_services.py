"""The Redis of `docker-compose.yml`, run natively with the very command and health check of that file."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
SERVICE: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]["redis"]
LIST = b"x" * 2_000
AN_HOUR_MS = 3_600_000


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A Redis of the compose file with 4 MiB of memory."""
    program, *words = (word.replace("${REDIS_MAXMEMORY:-1gb}", "4mb") for word in SERVICE["command"])
    if shutil.which(program) is None:
        pytest.skip(f"no {program} on this machine")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = int(probe.getsockname()[1])
    own = ["--port", str(free), "--bind", "127.0.0.1", "--dir", str(tmp_path)]
    with subprocess.Popen([program, *words, *own], stdout=subprocess.DEVNULL) as process:
        try:
            yield free
        finally:
            process.terminate()


def _is_healthy(port: int) -> bool:
    kind, program, *words = SERVICE["healthcheck"]["test"]
    assert kind == "CMD"
    asked = subprocess.run([program, "-p", str(port), *words], capture_output=True, check=False)
    return asked.returncode == 0


def _wait_until_healthy(port: int) -> None:
    deadline = time.monotonic() + 60
    while not _is_healthy(port):
        assert time.monotonic() < deadline, "Redis did not start in time"
        time.sleep(0.05)


def test_lists_make_room_and_a_stream_stays_whole(port: int) -> None:
    _wait_until_healthy(port)
    with redis.Redis(port=port, db=0) as events, redis.Redis(port=port, db=1) as mirror:
        for number in range(3_000):
            events.xadd("events", {"event": f'{{"user_id": "u{number}"}}'})
            mirror.set(f"list:{number}", LIST, px=AN_HOUR_MS + number)
        assert events.xlen("events") == 3_000
        assert 0 < mirror.dbsize() < 3_000
