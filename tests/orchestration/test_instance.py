"""Dagster's storages of a new home folder are made once, however many processes open them at the same time."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

_OPEN = """
import sys
from contextlib import closing
from pathlib import Path
from orchestration.environment import prepare_environment
from orchestration.home import open_instance
from orchestration.settings import load_settings

settings = load_settings(home=Path(sys.argv[1]))
prepare_environment(settings)
open_instance(settings).dispose()
"""


@pytest.mark.slow
def test_processes_that_open_a_new_home_at_once_all_succeed(tmp_path: Path) -> None:
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    words = [sys.executable, "-c", _OPEN, str(tmp_path)]
    started = [subprocess.Popen(words, stderr=subprocess.PIPE, env=environment) for _ in range(4)]
    errors = [process.communicate()[1].decode() for process in started]
    assert [process.returncode for process in started] == [0] * 4, errors


@pytest.mark.slow
def test_a_prepared_home_has_whole_storages_for_services_that_open_them_at_once(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("freshet")
    subprocess.run([program, "prepare", "--home", str(tmp_path)], check=True)
    for name in ("history/runs.db", "history/index.db", "schedules/schedules.db"):
        with closing(sqlite3.connect(tmp_path / "dagster" / name)) as connection:
            assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql+psycopg2://x:secret@localhost:1/none", "at postgresql+psycopg2://x:***@localhost:1/none"),
        ("secret", "is no address; write postgresql+psycopg2://"),
    ],
)
def test_storages_that_cannot_be_opened_are_named_without_their_password(tmp_path: Path, url: str, says: str) -> None:
    program = Path(sys.executable).with_name("freshet")
    environment = {**os.environ, "FRESHET_DAGSTER_POSTGRES_URL": url}
    command = [program, "prepare", "--home", str(tmp_path)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    (message,) = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert "FRESHET_DAGSTER_POSTGRES_URL" in message
    assert says in message
    assert "secret" not in ended.stdout + ended.stderr
