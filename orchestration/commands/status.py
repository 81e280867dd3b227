"""`freshet status`: whether the lists are fresh, and what is waiting or refused."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from orchestration.commands.console import (
    HomeOption,
    JsonOption,
    built_lake,
    duration,
    err,
    out,
    print_json,
    settings_of,
)

if TYPE_CHECKING:
    from orchestration.status import Status

_SHOWN_FILES = 5


def status(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Show the last runs, row counts, freshness, quarantine, model versions, and what waits to be processed."""
    from orchestration.commands.quarantine import rules_table
    from orchestration.status import read_status

    settings = settings_of(home)
    lake = built_lake(settings)
    with err().status("reading the state"):
        found = read_status(settings, lake, now=datetime.now(UTC).replace(tzinfo=None, microsecond=0))
    if as_json:
        print_json(asdict(found))
        return
    console = out()
    console.print(_freshness_table(found))
    console.print(_waiting(found))
    console.print(_runs_table(found))
    console.print(_rows_table(found))
    console.print(rules_table(lake))


def _freshness_table(found: "Status") -> Table:
    table = Table(title=f"{found.home}, domain {found.domain}", title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    table.add_row("data up to", f"{found.as_of} UTC" if found.as_of else "no interactions yet: `freshet run`")
    if found.lists is None:
        table.add_row("lists", "none yet: `freshet run`")
    else:
        lists = found.lists
        table.add_row("lists", f"{lists.users:,} users, made by model {', '.join(lists.model_versions)}")
        table.add_row("oldest list", f"for {lists.oldest} UTC, {_ago(found.now - lists.oldest)} ago")
        state = (
            f"[yellow]{lists.expired:,} of {lists.users:,} have expired; land newer events and run `freshet run`[/]"
            if lists.expired
            else f"[green]none has[/]; the first will at {lists.first_expiry} UTC"
        )
        table.add_row("expired", state)
    for role, version in found.models.items():
        table.add_row(role, version)
    return table


def _ago(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    return f"{hours:.1f} hours" if hours < 72 else f"{hours / 24:.0f} days"


def _waiting(found: "Status") -> str:
    lines = []
    if found.unread_files:
        names = ", ".join(found.unread_files[:_SHOWN_FILES])
        more = f" and {len(found.unread_files) - _SHOWN_FILES} more" if len(found.unread_files) > _SHOWN_FILES else ""
        lines.append(f"[yellow]{len(found.unread_files)} landing files are not ingested:[/] {escape(names)}{more}")
    if found.pending_days:
        days = list(found.pending_days)
        rows = sum(found.pending_days.values())
        lines.append(f"[yellow]{len(days)} days are not built:[/] {days[0]} to {days[-1]}, {rows:,} events")
    return "\n".join([*lines, "`freshet run` processes them"]) if lines else "Nothing waits to be processed."


def _runs_table(found: "Status") -> Table:
    table = Table(title="Last runs", title_justify="left")
    for name in ("run", "what", "outcome", "started (UTC)", "time"):
        table.add_column(name)
    for run in found.runs:
        started = "" if run.started_at is None else f"{run.started_at:%Y-%m-%d %H:%M:%S}"
        seconds = "" if run.seconds is None else duration(run.seconds)
        colour = {"success": "green", "failure": "red"}.get(run.outcome, "yellow")
        table.add_row(run.run_id[:8], escape(run.what), f"[{colour}]{run.outcome}[/]", started, seconds)
    return table


def _rows_table(found: "Status") -> Table:
    table = Table(title="Tables", title_justify="left")
    table.add_column("table")
    table.add_column("rows", justify="right")
    for name, rows in found.tables.items():
        table.add_row(name, f"{rows:,}")
    return table
