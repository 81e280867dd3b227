"""With CI=true, a test may not be skipped when what it needs is there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("ci", "data", "outcome"), [("true", ".", "failed"), ("", ".", "skipped"), ("true", "x", "skipped")]
)
def test_a_skip_beside_its_data_fails_in_ci(tmp_path: Path, ci: str, data: str, outcome: str) -> None:
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_planted.py").write_text("import pytest\ndef test_it(shared_data):\n    pytest.skip('planted')\n")
    environment = {**os.environ, "CI": ci, "FRESHET_TEST_DATA": str(tmp_path / data)}
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"1 {outcome}" in finished.stdout
