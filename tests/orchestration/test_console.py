"""What the commands share towards the terminal."""

import logging
from collections.abc import Iterator

import pytest

from orchestration.commands.console import log_to_stderr

LOGGERS = ("", "assets", "orchestration", "quality", "models", "freshet")


@pytest.fixture
def levels_put_back() -> Iterator[None]:
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.usefixtures("levels_put_back")
def test_libraries_speak_up_from_warnings_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])  # those of the test runner
    log_to_stderr()
    logging.getLogger("assets.mirrors.publishing").info("ours")
    logging.getLogger("some.library").info("noise")
    logging.getLogger("some.library").warning("matters")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["assets.mirrors.publishing: ours", "some.library: matters"]
