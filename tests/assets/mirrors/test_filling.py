"""A mirror follows its lake through changes, gaps, kills and strangers, and ends equal to it."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from assets.lake import Lake
from assets.list_reader import ListReader
from assets.mirrors import filling
from assets.mirrors.contract import ListMirror, MirrorState
from assets.mirrors.embedded import EmbeddedMirror
from assets.mirrors.filling import catch_up, seconds_behind
from models.errors import MirrorError

NOW = datetime.now(UTC).replace(tzinfo=None, microsecond=0)

_INSERT = """
INSERT INTO serving.top_k SELECT 'home', unnest($users), [{'item_id': $item, 'score': 0.1, 'source': 's', 'reason': 'r',
    'contributions': [{'term': 't', 'amount': 0.1}], 'propensity': 1.0}], 'm', 'i', 1, $now, $expires, 'batch', NULL
"""


def _publish(lake: Lake, users: list[str], item: str, *, hours: float = 5) -> None:
    """Give users a list, as one publication does; without an item they lose theirs."""

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("DELETE FROM serving.top_k WHERE user_id IN (SELECT unnest(?::VARCHAR[]))", [users])
        values = {"users": users, "item": item, "now": NOW, "expires": NOW + timedelta(hours=hours)}
        if item:
            connection.execute(_INSERT, values)

    lake.write(work, message="lists")


def _items(mirror: ListMirror) -> dict[str, str]:
    found = {user: mirror.read("home", user, now=NOW) for user in "abcdef"}
    return {user: one.item_ids[0] for user, one in found.items() if one is not None}


def _lists(lake: Lake) -> dict[str, str]:
    frame = lake.frame("SELECT user_id, items[1].item_id AS item FROM serving.top_k")
    return dict(zip(frame["user_id"], frame["item"], strict=True))


def test_it_is_filled_whole_and_then_by_changes(lake: Lake, mirror: ListMirror) -> None:
    _publish(lake, ["a", "b", "c"], "x")
    assert catch_up(lake, mirror, now=NOW).is_whole
    _publish(lake, ["a"], "y")
    _publish(lake, ["a", "d"], "z")
    _publish(lake, ["b"], "")
    report = catch_up(lake, mirror, now=NOW)
    assert (report.written, report.removed, report.is_whole) == (2, 1, False)
    assert _items(mirror) == _lists(lake) == {"a": "z", "c": "x", "d": "z"}
    assert catch_up(lake, mirror, now=NOW).written == 0


def test_many_changes_are_read_whole(lake: Lake, mirror: ListMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    _publish(lake, ["a", "b", "c"], "x")
    catch_up(lake, mirror, now=NOW)
    _publish(lake, ["a"], "")
    _publish(lake, ["b"], "y")
    monkeypatch.setattr(filling, "WHOLE_FROM", 2)
    report = catch_up(lake, mirror, now=NOW)
    assert (report.is_whole, report.removed) == (True, 1)
    assert _items(mirror) == _lists(lake)


def test_changes_that_were_cleaned_up_are_no_gap(lake: Lake, mirror: ListMirror) -> None:
    _publish(lake, ["a", "b"], "x")
    catch_up(lake, mirror, now=NOW)
    _publish(lake, ["a"], "y")
    _publish(lake, ["b"], "")
    with lake.connect() as connection:
        connection.execute("CALL ducklake_expire_snapshots('lake', older_than => now())")
        connection.execute("CALL ducklake_cleanup_old_files('lake', cleanup_all => true)")
    assert catch_up(lake, mirror, now=NOW).is_whole
    assert _items(mirror) == {"a": "y"}


def test_the_lists_of_another_lake_go(lake: Lake, mirror: ListMirror) -> None:
    _publish(lake, ["a"], "x")
    catch_up(lake, mirror, now=NOW)
    state = mirror.state()
    assert state is not None
    mirror.mark(MirrorState(state.snapshot, state.committed_at - 1))
    _publish(lake, ["a"], "")
    _publish(lake, ["b"], "y")
    assert catch_up(lake, mirror, now=NOW).is_whole
    assert (_items(mirror), mirror.count()) == ({"b": "y"}, 1)


class _Killed(BaseException):
    pass


class _DyingMirror:
    """Does what the mirror does until its calls run out, as a process that is killed at that moment."""

    def __init__(self, mirror: ListMirror, calls: int) -> None:
        self._mirror, self._left = mirror, calls

    def __getattr__(self, name: str) -> Callable[..., object]:
        self._left -= 1
        if self._left < 0:
            raise _Killed
        return getattr(self._mirror, name)  # type: ignore[no-any-return]


def test_a_filling_killed_at_any_step_is_repaired_by_the_next(lake: Lake, mirror: ListMirror) -> None:
    _publish(lake, ["a", "b"], "x")
    for calls in range(1, 4):
        _publish(lake, ["a", "c"], str(calls) if calls % 2 else "")
        with pytest.raises(_Killed):
            catch_up(lake, _DyingMirror(mirror, calls), now=NOW)  # type: ignore[arg-type]
        assert mirror.state() is None
    catch_up(lake, mirror, now=NOW)
    assert _items(mirror) == _lists(lake)


def test_how_far_behind(lake: Lake, mirror: ListMirror) -> None:
    assert seconds_behind(lake, mirror, now=NOW) == float("inf")
    _publish(lake, ["a"], "x")
    catch_up(lake, mirror, now=NOW)
    lake.write(lambda connection: connection.execute("DELETE FROM ops.builds"), message="no lists")
    assert seconds_behind(lake, mirror, now=NOW) == 0
    _publish(lake, ["a"], "y")
    _publish(lake, ["a"], "z")
    later = datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=60)
    assert 59 < seconds_behind(lake, mirror, now=later) < 75


def test_who_is_not_let_in_says_so(lake: Lake, mirror: ListMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "_LOCK_TIMEOUT_S", 0.05)
    with filling._turn(lake), pytest.raises(MirrorError, match="another process"):
        catch_up(lake, mirror, now=NOW)


@pytest.fixture
def embedded(tmp_path: Path) -> Callable[[], EmbeddedMirror]:
    return lambda: EmbeddedMirror(tmp_path / "mirror", budget_bytes=2**20)


def _reader(lake: Lake, mirror: ListMirror | None, *, later: float = 0.0) -> ListReader:
    clock = lambda: datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=later)  # noqa: E731
    return ListReader(lake, mirror, surface="home", clock=clock, check_every_s=60)


def test_a_reader_takes_the_mirror_while_it_is_fresh(lake: Lake, embedded: Callable[[], EmbeddedMirror]) -> None:
    _publish(lake, ["a"], "x")
    with _reader(lake, embedded()) as reader:
        assert "never filled" in reader.trouble
        from_lake = reader.read("a")
    with embedded() as mirror:
        catch_up(lake, mirror, now=NOW)
    _publish(lake, ["b"], "y")
    with _reader(lake, embedded()) as reader:
        from_mirror, missing, nobody = reader.read("a"), reader.read("b"), reader.read("nobody")
    assert from_lake is not None
    assert from_mirror is not None
    assert missing is not None
    assert (from_lake.origin, from_mirror.origin, missing.origin, nobody) == ("lake", "mirror", "lake", None)
    assert from_lake.list == from_mirror.list


def test_a_reader_takes_the_lake_when_the_mirror_lags(lake: Lake, embedded: Callable[[], EmbeddedMirror]) -> None:
    _publish(lake, ["a"], "x")
    with embedded() as mirror:
        catch_up(lake, mirror, now=NOW)
    _publish(lake, ["a"], "y")
    with _reader(lake, embedded(), later=60) as reader:
        found = reader.read("a")
        assert "lacks changes" in reader.trouble
    assert found is not None
    assert (found.origin, found.list.item_ids) == ("lake", ("y",))


def test_a_reader_asks_the_lake_only_where_the_mirror_does_not_tell(
    lake: Lake, embedded: Callable[[], EmbeddedMirror]
) -> None:
    _publish(lake, ["a"], "x")
    with embedded() as mirror:
        catch_up(lake, mirror, now=NOW)
    begun, moment = datetime.now(UTC).replace(tzinfo=None), timedelta()
    clock = lambda: begun + moment  # noqa: E731
    with ListReader(lake, embedded(), surface="home", clock=clock, check_every_s=60) as reader:
        shutil.rmtree(lake.lock_path.parent)
        reader.check_where_unclear()
        assert reader.trouble == ""
        moment = timedelta(seconds=60)
        reader.check_where_unclear()
        assert reader.trouble != ""


def test_an_expired_list_is_answered_by_the_lake_alone(lake: Lake, embedded: Callable[[], EmbeddedMirror]) -> None:
    _publish(lake, ["a"], "x", hours=1)
    with embedded() as mirror:
        catch_up(lake, mirror, now=NOW)
    with _reader(lake, embedded(), later=3_700) as reader:
        found = reader.read("a")
    assert found is not None
    assert found.origin == "lake"
