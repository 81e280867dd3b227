import subprocess
import sys
from pathlib import Path

import pytest

from assets.lease import Lease

_TAKE = """
import sys
from pathlib import Path
from assets.lease import Lease
print(Lease(Path(sys.argv[1]), "nearline", 10.0).take(float(sys.argv[2])))
if sys.argv[3] == "wait":
    sys.stdin.read()
"""


@pytest.fixture
def lease(tmp_path: Path) -> Lease:
    return Lease(tmp_path / "lease.sqlite", "nearline", 10.0)


def _other(lease: Lease, now: float, then: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", _TAKE, str(lease.file), str(now), then]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_nobody_else_takes_a_lease_before_it_expires(lease: Lease) -> None:
    assert lease.take(100.0) is not None
    assert _other(lease, 109.9, "end").communicate()[0] == "None\n"
    assert "epoch=2" in _other(lease, 110.1, "end").communicate()[0]


def test_a_superseded_leader_cannot_renew(lease: Lease) -> None:
    term = lease.take(100.0)
    assert term is not None
    _other(lease, 111.0, "end").communicate()
    assert lease.renew(term, 112.0) is None


def test_a_renewed_term_keeps_its_number(lease: Lease) -> None:
    term = lease.take(100.0)
    assert term is not None
    renewed = lease.renew(term, 105.0)
    assert renewed is not None
    assert (renewed.epoch, renewed.expires_at) == (term.epoch, 115.0)


def test_a_dead_leader_is_followed_at_once(lease: Lease) -> None:
    other = _other(lease, 100.0, "wait")
    assert other.stdout is not None
    assert "epoch=1" in other.stdout.readline()
    assert lease.take(101.0) is None
    other.kill()
    other.communicate()
    term = lease.take(101.0)
    assert term is not None
    assert term.epoch == 2


def test_a_term_that_was_given_up_has_no_leader(lease: Lease) -> None:
    assert lease.leader(100.0) is None
    term = lease.take(100.0)
    assert term is not None
    assert lease.leader(101.0) == term
    lease.give_up(term)
    assert lease.leader(101.0) is None
