"""`freshet top-k`: the list of a user."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from orchestration.commands.console import HomeOption, JsonOption, built_lake, err, out, print_json, settings_of

if TYPE_CHECKING:
    from orchestration.commands.lists import ShownList


def top_k(
    user: Annotated[str, typer.Argument(help="User id as in the source, or its pseudonym.")] = "",
    snapshot: Annotated[int | None, typer.Option(help="Read the list as it was at this snapshot of the lake.")] = None,
    segment: Annotated[
        str | None,
        typer.Option(help="Without a list of the user's own, or without USER: what is popular in this segment."),
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Print the recommendations of a user: titles, scores, reasons, and what made them when."""
    if not user and segment is None:
        raise typer.BadParameter("give USER, or --segment for what is popular in one")
    from assets.domain import load_domain
    from orchestration.commands.lists import read_list
    from orchestration.mirroring import open_list_reader

    settings = settings_of(home)
    key = settings.pseudonym_key.get_secret_value()
    lake, domain = built_lake(settings), load_domain(settings.domain)
    with err().status("reading the list"), open_list_reader(settings) as reader:
        shown = read_list(lake, domain, user, key, segment=segment, snapshot=snapshot, reader=reader)
    if as_json:
        print_json(asdict(shown))
        return
    out().print(list_table(shown, _title(shown)))
    out().print(_provenance(shown, datetime.now(UTC).replace(tzinfo=None)))


def list_table(shown: "ShownList", title: str, rows: int | None = None) -> Table:
    """A list as a table of at most so many rows."""
    table = Table(title=title, title_justify="left")
    table.add_column("rank", justify="right")
    table.add_column("item", no_wrap=True)
    table.add_column("title", ratio=3)
    table.add_column("score", justify="right")
    table.add_column("found by")
    table.add_column("reason", ratio=2)
    for item in shown.items[:rows]:
        cells = [str(item[name] or "") for name in ("item_id", "title", "source", "reason")]
        item_id, text, source, reason = (escape(cell) for cell in cells)
        table.add_row(str(item["rank"]), item_id, text, f"{item['score']:.3f}", source, reason)
    return table


def _title(shown: "ShownList") -> str:
    if shown.segment is None:
        return f"User {shown.user_id}"
    return f"Popular in segment {shown.segment}" if shown.segment else "Popular with everyone"


def _provenance(shown: "ShownList", now: datetime) -> str:
    if shown.segment is not None:
        return f"as of {shown.generated_at} UTC"
    assert shown.expires_at is not None
    nothing = "" if shown.items else "nothing to recommend: the user has seen every item that may be shown\n"
    note = " [yellow](expired: `freshet status` says why)[/]" if shown.expires_at <= now else ""
    return nothing + (
        f"model {shown.model_version}, index {shown.index_version}, lake snapshot {shown.input_snapshot}, "
        f"{shown.lane} lane, read from the {shown.read_from}\n"
        f"generated for {shown.generated_at} UTC, expires {shown.expires_at} UTC{note}"
    )
