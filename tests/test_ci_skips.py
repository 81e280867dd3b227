"""With CI=true, a test may not be skipped when what it needs is there."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest


def _outcome(folder: Path, test: str, *, redis_port: int = 6379, **environment: str) -> str:
    """What pytest says of a planted test under the repository's conftest, with Redis looked for at a port."""
    conftest = Path(__file__).with_name("conftest.py").read_text()
    (folder / "conftest.py").write_text(conftest.replace('("Redis", 6379)', f'("Redis", {redis_port})'))
    (folder / "test_planted.py").write_text(f"import pytest\n{test}:\n    pytest.skip('planted')\n")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    redis\n    integration\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        cwd=folder,
        env={**os.environ, "FRESHET_TEST_SERVICES": "", **environment},
        capture_output=True,
        text=True,
        check=False,
    ).stdout


@pytest.mark.parametrize(
    ("ci", "data", "outcome"), [("true", ".", "failed"), ("", ".", "skipped"), ("true", "x", "skipped")]
)
def test_a_skip_beside_its_data_fails_in_ci(tmp_path: Path, ci: str, data: str, outcome: str) -> None:
    said = _outcome(tmp_path, "def test_it(shared_data)", CI=ci, FRESHET_TEST_DATA=str(tmp_path / data))
    assert f"1 {outcome}" in said


@pytest.mark.parametrize(
    ("ci", "answers", "promised", "outcome"),
    [
        ("true", True, "", "failed"),
        ("true", False, "redis", "failed"),
        ("true", False, "postgresql", "skipped"),
        ("", True, "redis", "skipped"),
    ],
)
def test_a_skip_where_redis_answers_or_was_promised_fails_in_ci(
    tmp_path: Path, ci: str, answers: bool, promised: str, outcome: str
) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if answers:
            server.listen()
        said = _outcome(
            tmp_path,
            "@pytest.mark.redis\ndef test_it()",
            redis_port=server.getsockname()[1],
            CI=ci,
            FRESHET_TEST_SERVICES=promised,
        )
    assert f"1 {outcome}" in said
