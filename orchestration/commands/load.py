"""`freshet load`: a source into the landing zone, one sub-command for each source."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from orchestration.commands.console import HomeOption, JsonOption, err, out, print_json, settings_of

app = typer.Typer(
    help="Bring a source into the landing zone; `freshet run` ingests it from there.", no_args_is_help=True
)

PathArgument = Annotated[Path, typer.Argument(help="File or folder of the source.")]
DomainOption = Annotated[
    str | None,
    typer.Option(help="Domain of this home folder from now on: a packaged name or the path of a TOML file."),
]


@app.command("files")
def files(
    path: PathArgument,
    kind: Annotated[Literal["events", "items", "users"], typer.Option(help="What the rows are.")] = "events",
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="COLUMN=SOURCE", help="Landing column and its column in the source; repeat it."),
    ] = None,
    attribute: Annotated[
        list[str] | None, typer.Option(help="Column of the source to keep as an attribute; repeat it.")
    ] = None,
    event_type: Annotated[str, typer.Option(help="Event type of all rows, for a source without such a column.")] = "",
    encoding: Annotated[str, typer.Option(help="Encoding of text files.")] = "utf-8",
    delimiter: Annotated[str, typer.Option(help="Between the cells of CSV; default: comma, for .tsv a tab.")] = "",
    domain: DomainOption = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Any CSV, JSON lines or Parquet files, each optionally .gz or .zst, with a mapping of columns."""
    options = {
        "kind": kind,
        "columns": _columns(mapping or []),
        "attributes": attribute or [],
        "event_type": event_type,
        "encoding": encoding,
        "delimiter": delimiter,
    }
    _load("files", path, options, domain, home, as_json)


@app.command("amazon-reviews")
def amazon_reviews(
    path: PathArgument,
    tie_order: Annotated[
        Literal["position", "p5_position"], typer.Option(help="Order of a user's reviews within one day.")
    ] = "position",
    domain: DomainOption = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Amazon product reviews: a folder with interactions.parquet and items.parquet."""
    _load("amazon-reviews", path, {"tie_order": tie_order}, domain, home, as_json)


@app.command("movielens")
def movielens(
    path: PathArgument,
    missing_times: Annotated[
        Literal["refuse", "quarantine", "interpolate"], typer.Option(help="What to do with rows without a time.")
    ] = "refuse",
    domain: DomainOption = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """MovieLens: a folder with interactions.parquet, items.parquet and users.parquet."""
    _load("movielens", path, {"missing_times": missing_times}, domain, home, as_json)


@app.command("online-retail")
def online_retail(
    path: PathArgument, domain: DomainOption = None, as_json: JsonOption = False, home: HomeOption = None
) -> None:
    """UCI Online Retail: a file of invoice lines, or a folder with interactions.parquet."""
    _load("online-retail", path, {}, domain, home, as_json)


def _columns(entries: list[str]) -> dict[str, str]:
    columns = {}
    for entry in entries:
        name, sign, source = entry.partition("=")
        if not (name and sign and source):
            raise typer.BadParameter(f"--map {entry!r}: write COLUMN=SOURCE, such as user_id=CustomerID")
        columns[name] = source
    return columns


def _load(
    name: str, path: Path, options: Mapping[str, Any], domain: str | None, home: Path | None, as_json: bool
) -> None:
    from assets.landing_zone import LandingZone
    from assets.sources.registry import load_source
    from orchestration.commands.loaded_days import days_for, domain_for
    from orchestration.settings import write_home_file

    settings = settings_of(home)
    console = err()
    written = domain_for(settings, name, domain)
    with console.status(f"landing {path}"):
        result = load_source(name, path, LandingZone(settings.landing_path), options)
    with console.status("reading the days of the events"):
        written |= days_for(settings, name, result.files)
    if written:
        write_home_file(settings.root, written)
    if as_json:
        print_json({"files": result.files, "rows": result.rows, "settings": written})
        return
    for landed in result.files:
        out().print(f"landed {landed}", soft_wrap=True, markup=False)
    counts = ", ".join(f"{rows:,} {kind}" for kind, rows in result.rows.items())
    console.print(f"{counts}; next: `freshet run`", soft_wrap=True)
    if written:
        console.print(f"set in {settings.root / 'freshet.toml'}: {_shown(written)}", soft_wrap=True, markup=False)


def _shown(values: Mapping[str, str | date]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items())
