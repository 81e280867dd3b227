"""The lease of a leader is prolonged while it goes on, and only then."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from assets.lease import Lease
from orchestration.leadership import Leadership

LONGEST_STEP_S = 1.0


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def lease(tmp_path: Path) -> Lease:
    return Lease(tmp_path / "lease.sqlite", "test", 0.9)


@pytest.fixture
def leader(lease: Lease) -> Iterator[Leadership]:
    errors: list[Exception] = []
    with Leadership(lease, errors.append, longest_step_s=LONGEST_STEP_S) as leadership:
        leadership.step()
        assert leadership.take()
        yield leadership
    assert errors == []


def leads(lease: Lease) -> bool:
    return lease.leader(time.time()) is not None


def test_the_lease_is_prolonged_while_steps_follow_one_another(lease: Lease, leader: Leadership) -> None:
    term = leader.term
    assert term is not None

    def is_prolonged_twice() -> bool:
        leader.step()
        found = lease.leader(time.time())
        return found is not None and found.expires_at > term.expires_at + lease.seconds

    wait_until(is_prolonged_twice)
    assert leader.term == term


def test_the_lease_of_one_that_hangs_runs_out_and_goes_on_with_its_next_step(lease: Lease, leader: Leadership) -> None:
    term = leader.term
    assert term is not None
    wait_until(lambda: leader.seconds_since_step > LONGEST_STEP_S and not leads(lease))
    leader.step()
    wait_until(lambda: leads(lease))
    found = lease.leader(time.time())
    assert found is not None
    assert (found.epoch, leader.term) == (term.epoch, term)


def test_one_that_hangs_follows_the_candidate_that_took_over(lease: Lease, leader: Leadership) -> None:
    wait_until(lambda: leader.seconds_since_step > LONGEST_STEP_S and not leads(lease))
    with closing(sqlite3.connect(lease.file)) as connection, connection:
        taken = {"holder": "elsewhere:1:0", "expires_at": time.time() + 60}
        connection.execute("UPDATE lease SET holder = :holder, epoch = epoch + 1, expires_at = :expires_at", taken)
    leader.step()
    wait_until(lambda: leader.term is None)
    assert not leader.take()
