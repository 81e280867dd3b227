"""Both mirrors behind one contract: the embedded one always, Redis where it answers."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from assets.mirrors.contract import ListMirror
from assets.mirrors.embedded import EmbeddedMirror
from assets.mirrors.remote import RedisMirror

REDIS = "redis://127.0.0.1:6379/9"


@pytest.fixture(params=["embedded", pytest.param("redis", marks=pytest.mark.redis)])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], ListMirror]]:
    """Opens the same mirror, as another process would."""
    if request.param == "embedded":
        yield lambda: EmbeddedMirror(tmp_path / "mirror", budget_bytes=2**20)
        return
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 6379)):
            pytest.skip("no Redis on this machine")
    name = f"test-{uuid4()}"
    yield lambda: RedisMirror(REDIS, name=name)
    client = redis.Redis.from_url(REDIS)
    for key in client.scan_iter(match=f"freshet:{name}:*"):
        client.delete(key)
    client.close()


@pytest.fixture
def mirror(reopen: Callable[[], ListMirror]) -> Iterator[ListMirror]:
    opened = reopen()
    yield opened
    opened.close()
