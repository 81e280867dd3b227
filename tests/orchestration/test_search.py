"""The job `hyperparameter_search`, as `freshet search` runs it."""

import os
import subprocess
import sys
from pathlib import Path


def test_searching_before_anything_is_built_says_what_to_do(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FRESHET_")}
    command = [str(Path(sys.executable).with_name("freshet")), "search", "--json", "--home", str(tmp_path / "home")]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert "nothing has been built" in finished.stderr
    assert finished.stdout == ""
