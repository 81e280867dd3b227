"""`freshet run`: bring everything, or some groups, up to date."""

from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Annotated

import typer

from orchestration.commands.console import Exit, HomeOption, JsonOption, out, print_json, settings_of

GroupOption = Annotated[
    list[str] | None,
    typer.Option("--group", "-g", help="Only this group of the lineage graph; may be repeated."),
]


def run(
    group: GroupOption = None,
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], metavar="DAY", help="First day to build again, YYYY-MM-DD."),
    ] = None,
    last: Annotated[
        datetime | None,
        typer.Option("--to", formats=["%Y-%m-%d"], metavar="DAY", help="Last day to build again, that day included."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Build the chosen groups whether or not they are stale.")] = (
        False
    ),
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Ingest what landed and build whatever is stale, in the order of the lineage graph."""
    from orchestration.commands.refresh_view import refresh_and_show, summary_table

    days = _days(first, last)
    settings = settings_of(home)
    shown = refresh_and_show(settings, groups=group or [], days=days, force=force)
    if as_json:
        print_json({**asdict(shown.report), "seconds": shown.seconds})
    else:
        out().print(summary_table(shown))
    if not shown.report.is_ok:
        raise typer.Exit(Exit.FAILED)


def _days(first: datetime | None, last: datetime | None) -> tuple[date, date] | None:
    """Days to build, the end exclusive."""
    if first is None and last is None:
        return None
    if first is None or last is None:
        raise typer.BadParameter("--from and --to go together; for one day give it twice")
    if last < first:
        raise typer.BadParameter(f"--to {last.date()} is before --from {first.date()}")
    return first.date(), last.date() + timedelta(days=1)
