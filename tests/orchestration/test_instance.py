"""Dagster's storages of a new home folder are made once, however many processes open them at the same time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_OPEN = """
import sys
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
