"""`freshet doctor`: what is wrong on this machine, and how to mend it."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.markup import escape
from rich.table import Table

from orchestration.commands.console import Exit, HomeOption, JsonOption, err, out, print_json, settings_of

if TYPE_CHECKING:
    from orchestration.doctor import Finding, SettingInForce

_SIGNS = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "broken": "[bold red]broken[/]"}


def doctor(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Check versions, extensions, weights, disk, memory and ports, print the settings, and say how to mend it."""
    from orchestration.doctor import examine, settings_in_force

    settings = settings_of(home)
    with err().status("examining"):
        findings = list(examine(settings))
    in_force = settings_in_force(settings)
    if as_json:
        print_json({"findings": [asdict(one) for one in findings], "settings": [asdict(one) for one in in_force]})
    else:
        out().print(_findings_table(findings))
        out().print(_settings_table(in_force))
    if any(finding.level == "broken" for finding in findings):
        raise typer.Exit(Exit.ERROR)


def _findings_table(findings: "list[Finding]") -> Table:
    table = Table(title="Findings", title_justify="left")
    table.add_column("what", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("found")
    table.add_column("how to mend it")
    for one in findings:
        table.add_row(one.name, _SIGNS[one.level], escape(one.says), escape(one.remedy))
    return table


def _settings_table(settings: "list[SettingInForce]") -> Table:
    table = Table(title="Settings in force", title_justify="left")
    table.add_column("variable", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", no_wrap=True)
    for one in settings:
        table.add_row(one.variable, escape(one.value), one.origin, style="" if one.origin != "default" else "dim")
    return table
