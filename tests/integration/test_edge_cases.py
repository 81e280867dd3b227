"""Bad and degenerate input through the whole lineage: what is published, and what a user is told.

Homes share the parsed dbt project and one MLflow database; a home that several tests need is built once, and its tests
run in the order of the file.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from assets.lake import Lake
from models.encoder_weights import file_sha256
from models.errors import DataError, LakeLockedError
from models.registry import Registry
from orchestration.home import open_lake
from orchestration.refresh import RefreshReport, refresh
from orchestration.settings import Settings

from .homes import RULES, Homes, land

pytestmark = pytest.mark.slow

EVENTS = "user_id,item_id,event_type,event_at,value\n"
ITEMS = "item_id,title,description\n"
ONE_DAY = EVENTS + "".join(
    f"{user},{item},view,2026-01-03T10:{10 * place + number:02d}:00Z,\n"
    for place, (user, items) in enumerate({"ann": "i1 i2 i3", "bert": "i2 i3 i4", "cleo": "i1 i4"}.items())
    for number, item in enumerate(items.split())
)
# Items i4 and i5 have no text; i5 and i6 were never seen.
HALF_WITHOUT_TEXT = ITEMS + "i1,red lipstick,\ni2,red polish,\ni3,blue shampoo,for hair\ni4,,\ni5,,\ni6,green polish,\n"
BROKEN_EVENTS = f"""{EVENTS}\
dora,i1,view,2026-01-03T09:00:00Z,
dora,i2,view,2999-01-01T00:00:00Z,
dora,i2,view,yesterday,
dora,i2,teleport,2026-01-03T09:00:00Z,
dora,i2,view,2026-01-03T09:00:00Z,NaN
dora,i2,view,2026-01-03T09:00:00Z,inf
dora,i2,view,2026-01-03T09:00:00Z,many
dora,i2,purchase,2026-01-03T09:00:00Z,-1
,i2,view,2026-01-03T09:00:00Z,
dora,,view,2026-01-03T09:00:00Z,
"""


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Iterator[Homes]:
    """Homes with an encoder of two tiny layers."""
    with pytest.MonkeyPatch.context() as patch:
        # What the settings put into the environment must not reach other tests.
        for name in ("DAGSTER_HOME", "FRESHET_HOME", "FRESHET_LAKE_CATALOGUE", "FRESHET_LAKE_DATA_PATH"):
            patch.setenv(name, "")
        patch.setenv("FRESHET_PSEUDONYM_KEY", "")
        patch.setenv("FRESHET_MLFLOW_TRACKING_URI", "")
        yield Homes(tmp_path_factory.mktemp("homes"), tiny_encoder)


@pytest.fixture(scope="module")
def one_day(homes: Homes) -> tuple[Settings, RefreshReport]:
    """One day of a few users, hence no test window; items without text; a file with broken rows; K above the items."""
    settings = homes.make("one_day")
    land(settings, "events", ONE_DAY)
    land(settings, "events", BROKEN_EVENTS, "broken.csv")
    land(settings, "items", HALF_WITHOUT_TEXT)
    return settings, refresh(settings)


def failures(report: RefreshReport) -> str:
    """What a user reads of the failed steps."""
    return "\n".join(f"{step.asset}: {step.reason}" for step in report.steps if step.status == "failed")


def lists(lake: Lake) -> list[int]:
    """Length of each user's list, shortest first."""
    return sorted(lake.frame("SELECT len(items) AS n FROM serving.top_k")["n"])


@contextmanager
def program(code: str, *arguments: object) -> Iterator[None]:
    """Another process, which has run `code` and stays until the block ends."""
    whole = f"{code}\nprint('ready', flush=True)\nsys.stdin.read()"
    command = [sys.executable, "-c", f"import sys\n{whole}", *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield


def test_an_empty_landing_zone_says_where_files_go(homes: Homes) -> None:
    settings = homes.make("empty")
    with pytest.raises(DataError, match="the lake has no events: put files") as caught:
        refresh(settings)
    assert str(settings.landing_path / "events") in str(caught.value)
    lake = open_lake(settings)
    assert lake.frame("FROM ops.files").empty
    assert lake.fingerprint("marts.interactions") == "absent"
    assert not list(settings.lake_data_path.rglob("*.tmp"))


def test_events_without_any_items_name_what_to_land(homes: Homes) -> None:
    settings = homes.make("no_items")
    land(settings, "events", ONE_DAY)
    with pytest.raises(DataError, match="the lake has no items: put files") as caught:
        refresh(settings)
    assert str(settings.landing_path / "items") in str(caught.value)
    assert len(open_lake(settings).frame("FROM raw.events")) == 8


def test_one_day_without_a_test_window_is_published(one_day: tuple[Settings, RefreshReport]) -> None:
    settings, report = one_day
    assert report.is_ok, failures(report)
    decision = next(settings.artifacts_path.glob("report/*/decision.json")).read_text()
    assert "nothing was measured; accepted as the first model" in decision


def test_a_catalogue_below_k_gives_all_that_is_unseen(one_day: tuple[Settings, RefreshReport]) -> None:
    # Of six items ann and bert have seen three, cleo two, dora one.
    assert lists(open_lake(one_day[0])) == [3, 3, 4, 5]


def test_items_without_text_are_listed_and_warned_about(one_day: tuple[Settings, RefreshReport]) -> None:
    settings, _ = one_day
    lake = open_lake(settings)
    assert lake.frame("SELECT item_id FROM features.item_embeddings ORDER BY 1")["item_id"].tolist() == [
        *("i1", "i2", "i3", "i6")
    ]
    assert {"i4", "i5"} <= set(lake.frame("SELECT DISTINCT item_id FROM serving.top_k_items")["item_id"])
    alerts = settings.alerts_file.read_text()
    assert '"rule": "items_have_text", "severity": "warning"' in alerts
    assert '"rule": "texts_are_not_empty", "severity": "warning"' in alerts


def test_broken_rows_are_in_quarantine_and_the_rest_is_served(one_day: tuple[Settings, RefreshReport]) -> None:
    lake = open_lake(one_day[0])
    assert sorted(lake.frame("SELECT rule FROM quarantine.rows")["rule"]) == [
        "future_time",
        "missing_item_id",
        "missing_user_id",
        "quantity_not_positive",
        "unknown_event_type",
        "unparsable_time",
        "value_not_a_number",
        "value_not_finite",
        "value_not_finite",
    ]
    assert len(lake.frame("FROM raw.events")) == 9


def test_one_user_with_the_only_item_has_an_empty_list(homes: Homes) -> None:
    settings = homes.make("one_user", RULES)
    land(settings, "events", EVENTS + "ann,tea,view,2026-01-01T10:00:00Z,\n")
    land(settings, "items", ITEMS + "tea,,\n")
    report = refresh(settings)
    assert report.is_ok, failures(report)
    # The only item is seen, so nothing is left to recommend; it has no text either.
    assert lists(open_lake(settings)) == [0]


def test_an_encoder_that_does_not_exist_is_named(one_day: tuple[Settings, RefreshReport]) -> None:
    wrong = one_day[0].model_copy(update={"encoder": "/no/such/encoder"})
    report = refresh(wrong, groups=["language_model"])
    assert not report.is_ok
    assert "WeightsError: no encoder at '/no/such/encoder'; give a folder" in failures(report)


def _flip(weights: Path) -> None:
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)


def _cut(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_flip, r"model.safetensors has SHA-256 \w{64}, expected \w{64}; give the right folder or correct"),
        (_cut, r"model.safetensors has \d+ bytes, its header promises \d+: the file is damaged or cut short; copy"),
    ],
)
def test_damaged_weights_are_refused_and_nothing_is_registered(
    one_day: tuple[Settings, RefreshReport],
    tiny_encoder: Path,
    tmp_path: Path,
    damage: Callable[[Path], None],
    message: str,
) -> None:
    settings, _ = one_day
    damaged = shutil.copytree(tiny_encoder, tmp_path / "encoder")
    damage(damaged / "model.safetensors")
    registry = Registry(settings.tracking_uri, settings.mlflow_artifacts)
    lake = open_lake(settings)
    before = len(registry.list_versions("freshet-pretrained-encoder")), lake.fingerprint("ops.builds")
    sha256 = file_sha256(tiny_encoder / "model.safetensors") if damage is _flip else ""
    wrong = settings.model_copy(update={"encoder": str(damaged), "encoder_sha256": sha256})
    report = refresh(wrong, groups=["language_model"])
    assert not report.is_ok
    assert re.search("WeightsError: .*" + message, failures(report))
    assert (len(registry.list_versions("freshet-pretrained-encoder")), lake.fingerprint("ops.builds")) == before


def test_a_second_refresh_names_the_lock_of_the_first(one_day: tuple[Settings, RefreshReport]) -> None:
    settings, _ = one_day
    lock = settings.root / "refresh.lock"
    with (
        program("import filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire()", lock),
        pytest.raises(LakeLockedError, match=r"another refresh of .* is at work") as caught,
    ):
        refresh(settings)
    assert str(lock) in str(caught.value)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "import filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire()",
            "another process has held the write lock .*write.lock for over 1 s; wait for its run to end",
        ),
        (
            "import sqlite3; held = sqlite3.connect(sys.argv[2]); held.execute('BEGIN EXCLUSIVE')",
            "the catalogue sqlite:.*catalogue.sqlite stayed locked by another program",
        ),
    ],
    ids=["lock file", "catalogue"],
)
def test_a_locked_catalogue_is_named_and_a_later_refresh_succeeds(
    one_day: tuple[Settings, RefreshReport], code: str, message: str
) -> None:
    settings = one_day[0].model_copy(update={"lock_timeout_s": 1.0})
    with (
        program(code, settings.lock_path, settings.lake_catalogue.removeprefix("sqlite:")),
        pytest.raises(LakeLockedError, match=message),
    ):
        refresh(settings)
    assert refresh(settings, groups=["serving"]).is_ok


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(f"cannot mount a tmpfs as root: {mounted.stderr}")
        pytest.skip(f"needs the right to mount a tmpfs: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_loses_nothing_and_a_rerun_succeeds(homes: Homes, small_disk: Path) -> None:
    settings = homes.make("full_disk", data_path=small_disk / "data")
    land(settings, "events", ONE_DAY)
    assert refresh(settings, groups=["ingestion"]).is_ok
    lake = open_lake(settings)
    before = lake.fingerprint("raw.events"), lake.fingerprint("ops.files")
    rows = [f"{os.urandom(16).hex()},{os.urandom(16).hex()},view,2026-01-04T10:00:00Z,\n" for _ in range(20_000)]
    land(settings, "events", EVENTS + "".join(rows), "large.csv")
    report = refresh(settings, groups=["ingestion"])
    assert not report.is_ok
    assert f"LakeFullError: no space left under {small_disk / 'data'}; free some and run again" in failures(report)
    assert (lake.fingerprint("raw.events"), lake.fingerprint("ops.files")) == before
    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    report = refresh(settings, groups=["ingestion"])
    assert report.is_ok, failures(report)
    assert len(lake.frame("FROM raw.events")) == 8 + 20_000
