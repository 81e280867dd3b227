"""What every mirror promises, for each of them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from assets.mirrors.contract import Entry, ListMirror, MirrorState, microseconds
from assets.mirrors.remote import RedisMirror
from models.errors import MirrorError

# Redis expires by its own clock, so that of the tests is the real one.
NOW = datetime.now(UTC).replace(tzinfo=None, microsecond=0)


def _entry(user: str, item: str = "a", *, hours: float = 1.0) -> Entry:
    payload = {
        "item_ids": [item, "z"],
        "scores": [2.5, 1.0],
        "sources": ["als", "als"],
        "reasons": ["r", "ü"],
        "propensities": [1.0, None],
        "model_version": "m",
        "index_version": "i",
        "input_snapshot": 3,
        "lane": "batch",
        "generated_at": microseconds(NOW),
        "last_event_at": None,
    }
    return Entry("home", user, microseconds(NOW + timedelta(hours=hours)), orjson.dumps(payload))


def _items(mirror: ListMirror, user: str, *, later: float = 0.0) -> tuple[str, ...] | None:
    found = mirror.read("home", user, now=NOW + timedelta(hours=later))
    return None if found is None else found.item_ids


def test_a_list_comes_back_whole(mirror: ListMirror) -> None:
    mirror.put([_entry("u")], stamp=1, now=NOW)
    found = mirror.read("home", "u", now=NOW)
    assert found is not None
    assert (found.item_ids, found.scores, found.reasons) == (("a", "z"), (2.5, 1.0), ("r", "ü"))
    assert (found.propensities, found.input_snapshot, found.last_event_at) == ((1.0, None), 3, None)
    assert (found.generated_at, found.expires_at) == (NOW, NOW + timedelta(hours=1))


def test_the_last_list_of_a_user_counts_and_others_stay(mirror: ListMirror) -> None:
    mirror.put([_entry("u"), _entry("v")], stamp=1, now=NOW)
    mirror.put([_entry("u", "b")], stamp=2, now=NOW)
    assert (_items(mirror, "u"), _items(mirror, "v"), mirror.count()) == (("b", "z"), ("a", "z"), 2)
    assert mirror.read("feed", "u", now=NOW) is None


def test_an_expired_list_is_never_read(mirror: ListMirror) -> None:
    mirror.put([_entry("u"), _entry("w", hours=3)], stamp=1, now=NOW)
    assert _items(mirror, "u", later=0.99) is not None
    assert _items(mirror, "u", later=1.0) is None
    assert _items(mirror, "w", later=1.0) is not None


def test_a_list_that_has_expired_takes_the_former_one_away(mirror: ListMirror) -> None:
    mirror.put([_entry("u")], stamp=1, now=NOW)
    mirror.put([_entry("u", hours=-1)], stamp=2, now=NOW)
    assert (_items(mirror, "u", later=-2), mirror.count()) == (None, 0)


def test_removed_lists_are_gone_and_may_be_removed_again(mirror: ListMirror) -> None:
    mirror.put([_entry("u"), _entry("v")], stamp=1, now=NOW)
    for _ in range(2):
        mirror.remove([("home", "u"), ("home", "nobody")])
    assert (_items(mirror, "u"), mirror.count()) == (None, 1)


def test_lists_with_another_stamp_are_removed(mirror: ListMirror) -> None:
    mirror.put([_entry(f"u{n}") for n in range(5)], stamp=7, now=NOW)
    mirror.put([_entry("u1", "b")], stamp=6, now=NOW)
    mirror.remove_others(6)
    assert (mirror.count(), _items(mirror, "u1")) == (1, ("b", "z"))


def test_the_state_outlives_the_process(mirror: ListMirror, reopen: Callable[[], ListMirror]) -> None:
    assert mirror.state() is None
    mirror.mark(MirrorState(4, 99))
    mirror.put([_entry("u")], stamp=99, now=NOW)
    other = reopen()
    assert (other.state(), _items(other, "u")) == (MirrorState(4, 99), ("a", "z"))
    other.mark(None)
    other.close()
    assert mirror.state() is None


def test_a_redis_that_is_gone_is_told_with_the_remedy() -> None:
    with RedisMirror("redis://127.0.0.1:1/0", name="x") as mirror, pytest.raises(MirrorError, match="FRESHET_MIRROR"):
        mirror.read("home", "u", now=NOW)
