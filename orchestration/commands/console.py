"""What the commands share towards the terminal: options, exit codes, consoles, and where library noise goes."""

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from assets.lake import Lake
    from orchestration.settings import Settings

_WIDTH_OF_FILES = 140
"""Columns of tables that go to a file or pipe, where there is no terminal to ask."""

_CATALOGUE_MISSING = "nothing has been built in {home}; begin with `freshet demo`, or `freshet load` and `freshet run`"

_OWN_LOGGERS = ("orchestration", "assets", "quality", "models", "freshet")

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Folder of everything that Freshet writes.  [default: FRESHET_HOME, else .freshet]"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


class Exit(IntEnum):
    """Exit codes of the command."""

    OK = 0
    ERROR = 1
    """An error with a message that says how to mend it, or something that `doctor` found broken."""
    USAGE = 2
    """Wrong arguments."""
    FAILED = 3
    """A run failed, or a blocking check did; readers keep the last good version."""


def out() -> Console:
    """Console for results, on standard output."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)


def err() -> Console:
    """Console for progress and messages, on standard error."""
    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _WIDTH_OF_FILES)


def print_json(value: Any) -> None:
    """Write a value to standard output as JSON; dates and paths become text."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def settings_of(home: Path | None, **overrides: Any) -> "Settings":
    """Settings with the home folder of the command line, if given.

    Raises:
        ConfigurationError: a setting is invalid.
    """
    from orchestration.settings import load_settings

    return load_settings(**({"home": home} if home is not None else {}), **overrides)


def built_lake(settings: "Settings") -> "Lake":
    """The lake, for commands that only read; unlike `open_lake` it never creates one.

    Raises:
        DataError: there is none yet.
    """
    from assets.sqlite_catalogue import sqlite_file
    from models.errors import DataError
    from orchestration.home import open_lake

    file = sqlite_file(settings.lake_catalogue)
    if file is not None and not file.exists():
        raise DataError(_CATALOGUE_MISSING.format(home=settings.root))
    return open_lake(settings)


def log_to_stderr() -> None:
    """Log what Freshet tells from INFO on, and what its libraries do from WARNING on, to standard error."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    for name in _OWN_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)


@contextmanager
def diverted_output(log: Path) -> Iterator[Console]:
    """Send what libraries and child processes print to a file; yields a console that reaches the terminal.

    The file of the time before is kept beside it with the suffix `.1`.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_name(f"{log.name}.1"))
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    is_terminal = sys.stderr.isatty()
    with log.open("wb") as sink, os.fdopen(os.dup(2), "w", encoding="utf-8") as terminal:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        try:
            yield Console(file=terminal, highlight=False, width=None if is_terminal else _WIDTH_OF_FILES)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, descriptor in zip((1, 2), kept, strict=True):
                os.dup2(descriptor, number)
                os.close(descriptor)


def duration(seconds: float) -> str:
    """Seconds for people: `0.4 s`, `12.3 s`, `3:05 min`."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min"
