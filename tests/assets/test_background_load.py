import threading
import time
from collections.abc import Callable, Iterator

import pytest

from assets.background_load import BackgroundLoad, IsWanted


class Shelf:
    """Loads its key once it may, and keeps count of how many loads run at once."""

    def __init__(self) -> None:
        self.may_load = threading.Event()
        self.begun: list[str] = []
        self.failures: list[Exception] = []
        self.errors: list[Exception] = []
        self.running = self.most_running = 0

    def load(self, key: str, is_wanted: IsWanted) -> str | None:
        self.begun.append(key)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            assert self.may_load.wait(30)
            if self.failures:
                raise self.failures.pop()
            return f"what belongs to {key}" if is_wanted() else None
        finally:
            self.running -= 1


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def loading(shelf: Shelf) -> Iterator[BackgroundLoad[str]]:
    made = BackgroundLoad(shelf.load, on_failure=shelf.errors.append, first_pause_s=0)
    yield made
    shelf.may_load.set()
    made.close()


def taken(loading: BackgroundLoad[str], key: str) -> str:
    """Asks until it is there, as batches do."""
    return until(lambda: loading.take(key))


def until(ask: Callable[[], str | None]) -> str:
    deadline = time.monotonic() + 30
    while (found := ask()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return found


def test_nobody_waits_for_it(shelf: Shelf, loading: BackgroundLoad[str]) -> None:
    assert loading.take("a") is None
    assert loading.take("a") is None
    shelf.may_load.set()
    assert taken(loading, "a") == "what belongs to a"
    assert shelf.begun == ["a"]


def test_another_key_is_loaded_once_the_first_load_has_ended(shelf: Shelf, loading: BackgroundLoad[str]) -> None:
    assert loading.take("a") is None
    assert loading.take("b") is None
    shelf.may_load.set()
    assert taken(loading, "b") == "what belongs to b"
    assert (shelf.begun, shelf.most_running) == (["a", "b"], 1)


def test_a_failure_is_told_and_tried_again(shelf: Shelf, loading: BackgroundLoad[str]) -> None:
    shelf.failures.append(OSError("the disk is away"))
    shelf.may_load.set()
    told = until(lambda: loading.take("a") or loading.error or None)
    assert told == "the disk is away"
    assert taken(loading, "a") == "what belongs to a"
    assert (loading.error, [str(error) for error in shelf.errors]) == ("", ["the disk is away"])


def test_between_two_tries_is_a_pause(shelf: Shelf) -> None:
    patient = BackgroundLoad(shelf.load, on_failure=shelf.errors.append, first_pause_s=60)
    shelf.failures.append(OSError("the disk is away"))
    shelf.may_load.set()
    until(lambda: patient.take("a") or patient.error or None)
    assert patient.take("a") is None
    assert shelf.begun == ["a"]
    patient.close()


def test_what_was_dropped_is_loaded_anew(shelf: Shelf, loading: BackgroundLoad[str]) -> None:
    assert loading.take("a") is None
    loading.drop()
    shelf.may_load.set()
    assert taken(loading, "a") == "what belongs to a"
    assert shelf.begun == ["a", "a"]


def test_closing_waits_for_the_load_under_way(shelf: Shelf, loading: BackgroundLoad[str]) -> None:
    assert loading.take("a") is None
    while not shelf.running:
        time.sleep(0.001)
    threading.Timer(0.05, shelf.may_load.set).start()
    loading.close()
    assert shelf.running == 0
