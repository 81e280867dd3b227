"""The `freshet` command."""

import sys
from collections.abc import Sequence

import typer

from models.errors import FreshetError
from orchestration.commands import (
    demo,
    doctor,
    evaluate,
    load,
    nearline,
    prepare,
    quarantine,
    run,
    search,
    status,
    top_k,
    up,
)
from orchestration.commands.console import Exit, err

EPILOG = (
    "Exit codes: 0 all is well; 1 an error, told in one message, or something that `doctor` found broken; "
    "2 wrong arguments; 3 a run or a blocking check failed. "
    "Settings are environment variables FRESHET_…; `freshet doctor` prints them."
)

app = typer.Typer(
    name="freshet",
    help="Always-fresh, validated top-K recommendation tables from raw events and a catalogue.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo.demo)
app.add_typer(load.app, name="load")
app.command("run")(run.run)
app.command("top-k")(top_k.top_k)
app.command()(evaluate.evaluate)
app.command()(search.search)
app.command()(status.status)
app.add_typer(quarantine.app, name="quarantine")
app.command()(up.up)
app.command()(nearline.nearline)
app.command()(doctor.doctor)
app.command()(prepare.prepare)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a `FreshetError` becomes one message on standard error and exit code 1."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="freshet")
    except FreshetError as error:
        err().print(f"[bold red]error:[/] {_escaped(str(error))}", soft_wrap=True)
        sys.exit(Exit.ERROR)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
