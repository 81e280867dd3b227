"""The sensor path: what arrives starts one run, a repeated tick the same one, and a leading worker none."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from dagster import DagsterInstance, DagsterRunStatus, RunRequest, SensorResult, SkipReason, build_sensor_context
from dagster._core.test_utils import create_run_for_test

from assets.lake import Lake
from assets.lease import nearline_lease
from assets.streams.redis_stream import RedisStreamSource
from orchestration.nearline_arrivals import Arrivals, open_arrivals
from orchestration.nearline_job import nearline_job
from orchestration.nearline_lane import utc_now
from orchestration.nearline_sensor import ARRIVAL, MOST_ATTEMPTS, Cursor, nearline_sensor, watch
from orchestration.run_coordination import LEFT
from orchestration.settings import load_settings

LONG_AGO = 1_700_000_000
REDIS = "redis://127.0.0.1:6379/9"

_IMPORTS = """
import json, sys
from orchestration.nearline_definitions import defs
names = [job.name for job in defs.resolve_all_job_defs() if not job.name.startswith("__")]
names += [sensor.name for sensor in defs.sensors]
heavy = ("torch", "transformers", "faiss", "mlflow", "great_expectations", "dagster_dbt", "matplotlib", "sklearn")
print(json.dumps([names, [name for name in heavy if name in sys.modules]]))
"""


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as made:
        yield made


def _land(folder: Path, name: str, text: str = "a", modified: float = LONG_AGO) -> Path:
    file = folder / "landing" / "events" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    os.utime(file, (modified, modified))
    return file


def _tick(
    lake: Lake,
    folder: Path,
    instance: DagsterInstance,
    cursor: str | None = None,
    *,
    hold_s: float = 0.0,
    sleep: Callable[[float], None] = time.sleep,
    streams: tuple[RedisStreamSource, ...] = (),
    passed: str = "",
) -> SensorResult | SkipReason:
    arrivals = Arrivals(lake, folder / "landing", streams, settle_s=2.0, most=1_000, passed=lambda now: passed)
    return watch(arrivals, nearline_lease(lake), instance, cursor, hold_s=hold_s, sleep=sleep)


def _request(tick: SensorResult | SkipReason) -> tuple[RunRequest, str]:
    assert isinstance(tick, SensorResult), tick
    assert tick.run_requests is not None
    assert tick.cursor is not None
    (request,) = tick.run_requests
    return request, tick.cursor


def _run(instance: DagsterInstance, request: RunRequest, status: DagsterRunStatus) -> str:
    return create_run_for_test(instance, job_name="nearline_lists", status=status, tags=dict(request.tags)).run_id


def _words(tick: SensorResult | SkipReason) -> str:
    assert isinstance(tick, SkipReason), tick
    return str(tick.skip_message)


def test_a_new_file_starts_one_run_and_a_repeated_tick_the_same(
    lake: Lake, tmp_path: Path, instance: DagsterInstance
) -> None:
    assert "nothing new" in _words(_tick(lake, tmp_path, instance))
    _land(tmp_path, "a.csv")
    (first, cursor), (again, _) = (_request(_tick(lake, tmp_path, instance)) for _ in range(2))
    assert first.run_key == again.run_key
    assert first.tags[ARRIVAL] == first.run_key
    _run(instance, first, DagsterRunStatus.SUCCESS)
    assert "nothing new" in _words(_tick(lake, tmp_path, instance, cursor))
    _land(tmp_path, "b.csv")
    assert _request(_tick(lake, tmp_path, instance, cursor))[0].run_key != first.run_key


def test_what_comes_during_a_run_waits_for_its_end(lake: Lake, tmp_path: Path, instance: DagsterInstance) -> None:
    _land(tmp_path, "a.csv")
    request, cursor = _request(_tick(lake, tmp_path, instance))
    _run(instance, request, DagsterRunStatus.STARTED)
    _land(tmp_path, "b.csv")
    assert "under way" in _words(_tick(lake, tmp_path, instance, cursor))


def test_what_a_failed_run_had_got_is_tried_again_a_few_times(
    lake: Lake, tmp_path: Path, instance: DagsterInstance
) -> None:
    _land(tmp_path, "a.csv")
    cursor, keys = "", []
    for _ in range(MOST_ATTEMPTS):
        request, cursor = _request(_tick(lake, tmp_path, instance, cursor))
        keys.append(request.run_key)
        _run(instance, request, DagsterRunStatus.FAILURE)
    assert len(set(keys)) == MOST_ATTEMPTS
    assert f"{MOST_ATTEMPTS} runs have left 1 landing files" in _words(_tick(lake, tmp_path, instance, cursor))
    _land(tmp_path, "b.csv")
    assert Cursor.parse(_request(_tick(lake, tmp_path, instance, cursor))[1]).attempt == 0


def test_what_a_run_left_to_a_leader_waits_until_somebody_has_taken_it(
    lake: Lake, tmp_path: Path, instance: DagsterInstance
) -> None:
    """The leader may have died before it came to it, and nothing else may ever arrive."""
    _land(tmp_path, "a.csv")
    request, cursor = _request(_tick(lake, tmp_path, instance))
    instance.add_run_tags(_run(instance, request, DagsterRunStatus.SUCCESS), {LEFT: "to the leader"})
    again, cursor = _request(_tick(lake, tmp_path, instance, cursor))
    assert again.run_key != request.run_key
    _run(instance, again, DagsterRunStatus.SUCCESS)
    assert "nothing new" in _words(_tick(lake, tmp_path, instance, cursor))


def test_what_begins_or_ends_by_itself_starts_one_run_and_again_where_that_failed(
    lake: Lake, tmp_path: Path, instance: DagsterInstance
) -> None:
    end = "2026-01-04T15:00:00/7"
    (first, cursor), (again, _) = (_request(_tick(lake, tmp_path, instance, passed=end)) for _ in range(2))
    assert first.run_key == again.run_key
    _run(instance, first, DagsterRunStatus.FAILURE)
    second, cursor = _request(_tick(lake, tmp_path, instance, cursor, passed=end))
    assert second.run_key != first.run_key
    _run(instance, second, DagsterRunStatus.SUCCESS)
    assert "nothing new" in _words(_tick(lake, tmp_path, instance, cursor, passed=end))
    _request(_tick(lake, tmp_path, instance, cursor, passed="2026-01-04T16:00:00/7"))


def test_a_run_for_a_file_follows_the_clock_too(lake: Lake, tmp_path: Path, instance: DagsterInstance) -> None:
    _land(tmp_path, "a.csv")
    request, cursor = _request(_tick(lake, tmp_path, instance, passed="2026-01-04T15:00:00/7"))
    _run(instance, request, DagsterRunStatus.SUCCESS)
    assert "nothing new" in _words(_tick(lake, tmp_path, instance, cursor, passed="2026-01-04T15:00:00/7"))


def test_a_leading_worker_is_left_alone(lake: Lake, tmp_path: Path, instance: DagsterInstance) -> None:
    _land(tmp_path, "a.csv")
    term = nearline_lease(lake).take(time.time())
    assert term is not None
    assert "worker leads" in _words(_tick(lake, tmp_path, instance))
    nearline_lease(lake).give_up(term)
    _request(_tick(lake, tmp_path, instance))


def test_a_tick_is_held_until_a_file_has_settled(lake: Lake, tmp_path: Path, instance: DagsterInstance) -> None:
    file = _land(tmp_path, "a.csv", modified=time.time() + 100)
    assert "nothing new" in _words(_tick(lake, tmp_path, instance))
    settle = lambda seconds: os.utime(file, (LONG_AGO, LONG_AGO))  # noqa: E731
    _request(_tick(lake, tmp_path, instance, hold_s=20.0, sleep=settle))


@pytest.mark.parametrize(("linger_s", "is_found"), [(20.0, True), (2.0, True), (1.0, False)])
def test_a_file_need_not_have_settled_where_the_run_waits_for_it(
    lake: Lake, tmp_path: Path, linger_s: float, is_found: bool
) -> None:
    settings = load_settings(
        home=tmp_path / "home",
        catalogue=lake.catalogue,
        data_path=lake.data_path,
        landing=tmp_path / "landing",
        settle_seconds=2.0,
        nearline_linger_s=linger_s,
    )
    _land(tmp_path, "a.csv", modified=time.time() - 0.1)
    with open_arrivals(settings) as arrivals:
        assert (arrivals.look("", "", utc_now()) is not None) == is_found


def test_a_file_of_items_starts_a_run_too(lake: Lake, tmp_path: Path, instance: DagsterInstance) -> None:
    _land(tmp_path, "../items/a.csv")
    _request(_tick(lake, tmp_path, instance))


def test_a_large_file_is_left_to_the_batch_lane(lake: Lake, tmp_path: Path, instance: DagsterInstance) -> None:
    _land(tmp_path, "a.csv", "x" * 1_000)
    assert "nothing new" in _words(_tick(lake, tmp_path, instance))


@pytest.mark.redis
def test_entries_of_a_stream_start_a_run(lake: Lake, tmp_path: Path, instance: DagsterInstance) -> None:
    client, key = redis.Redis.from_url(REDIS), f"test-{uuid4()}"
    try:
        client.ping()
    except redis.ConnectionError:
        pytest.skip("no Redis on this machine")
    with client:
        source = RedisStreamSource(REDIS, key)
        assert "nothing new" in _words(_tick(lake, tmp_path, instance, streams=(source,)))
        entry = client.xadd(key, {"event": "{}"})
        client.expire(key, 600)
        (first, _), (again, _) = (_request(_tick(lake, tmp_path, instance, streams=(source,))) for _ in range(2))
        assert first.run_key == again.run_key
        assert "1 rows of redis:" in first.tags["freshet/waiting"]
        source.resume({"": entry.decode()})
        source.close()


def test_before_the_first_lists_nothing_is_started(lake: Lake, tmp_path: Path, instance: DagsterInstance) -> None:
    settings = load_settings(home=tmp_path / "home", catalogue=lake.catalogue, data_path=lake.data_path)
    sensor = nearline_sensor(settings, nearline_job(settings))
    assert "no lists were built" in _words(sensor(build_sensor_context(instance=instance)))


def test_the_location_is_slim(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FRESHET_")}
    finished = subprocess.run(
        [sys.executable, "-c", _IMPORTS],
        env={**environment, "FRESHET_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(finished.stdout.splitlines()[-1]) == [["nearline_lists", "nearline_events"], []]
