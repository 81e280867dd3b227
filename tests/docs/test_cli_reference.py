"""`docs/cli.md` says what the command and the settings are."""

import re
from pathlib import Path

import click
import typer.main

from orchestration.cli import app
from orchestration.commands.console import Exit
from orchestration.commands.settings_table import settings_markdown

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def test_the_settings_are_those_of_the_class() -> None:
    found = re.search(r"<!-- settings:.*?-->\n(.*?)\n<!-- end of settings -->", PAGE, re.DOTALL)
    assert found is not None
    assert found.group(1) == settings_markdown()


def test_every_command_is_in_the_reference() -> None:
    names = set(re.findall(r"^\| `freshet ([a-z-]+)", PAGE, re.MULTILINE))
    group = typer.main.get_command(app)
    assert names == set(group.list_commands(click.Context(click.Command("freshet"))))  # type: ignore[attr-defined]


def test_every_exit_code_is_in_the_reference() -> None:
    assert [int(code) for code in re.findall(r"^\| (\d) \|", PAGE, re.MULTILINE)] == sorted(Exit)
