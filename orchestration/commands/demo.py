"""`freshet demo`: a market generated, the whole lineage run on it, and what came out."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from orchestration.commands.console import Exit, HomeOption, err, out, settings_of

if TYPE_CHECKING:
    from orchestration.commands.demo_market import DemoMarket
    from orchestration.settings import Settings

DomainOption = Annotated[
    Literal["shop", "feed", "courses"] | None, typer.Option(help="Which market.  [default: shop]", show_default=False)
]


def demo(
    domain: DomainOption = None,
    users: Annotated[int | None, typer.Option(min=10, help="Users after 30 days.  [default: 2000]")] = None,
    items: Annotated[int | None, typer.Option(min=50, help="Items after 30 days.  [default: 1500]")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Days of the market.  [default: 30]")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Decides everything that is drawn.  [default: 7]")] = None,
    advance: Annotated[int, typer.Option(min=0, help="Let so many more days land.")] = 0,
    home: HomeOption = None,
) -> None:
    """Generate a market, run the whole lineage on it, and show what came out.

    Run again, it builds only what is not up to date, and says what it skipped; `--advance 1` lets the next day land.
    """
    from orchestration.commands.demo_story import tell
    from orchestration.commands.refresh_view import refresh_and_show

    asked: dict[str, object] = {"domain": domain, "users": users, "items": items, "days": days, "seed": seed}
    settings, generation = _land(home, asked, advance)
    shown = refresh_and_show(settings)
    tell(out(), settings, shown, generation)
    if not shown.report.is_ok:
        raise typer.Exit(Exit.FAILED)


def _land(home: Path | None, asked: dict[str, object], advance: int) -> tuple["Settings", float]:
    """Generate the days that are missing; returns settings in force afterwards and the seconds it took."""
    from orchestration.commands.demo_market import generate_market, plan
    from orchestration.settings import write_home_file

    before = settings_of(home)
    market, landed = plan(before.root, before.landing_path, asked, advance=advance)
    seconds = 0.0
    if landed < market.days:
        started = time.monotonic()
        with _progress(err()) as progress:
            task = progress.add_task(f"generating a {market.domain} market")
            generate_market(
                before.root,
                before.landing_path,
                market,
                landed,
                lambda done, total: progress.update(task, completed=done, total=total),
            )
        seconds = time.monotonic() - started
    write_home_file(before.root, {"domain": market.domain, "first_day": market.first_day, "last_day": market.last_day})
    # Generated files appear whole, by a rename, so nobody has to wait for them to settle.
    settings = settings_of(home, settle_seconds=0)
    _check_domain(settings, market)
    return settings, seconds


def _check_domain(settings: "Settings", market: "DemoMarket") -> None:
    from models.errors import ConfigurationError

    if settings.domain != market.domain:
        raise ConfigurationError(
            f"FRESHET_DOMAIN is {settings.domain!r}, but the demo's is {market.domain!r}; unset the variable"
        )


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("days"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
