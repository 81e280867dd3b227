"""`freshet search`: hyper-parameters on validation, as the Dagster job of that name in this process."""

from typing import Annotated

import typer

from orchestration.commands.console import (
    HomeOption,
    JsonOption,
    built_lake,
    diverted_output,
    out,
    print_json,
    settings_of,
)


def search(
    trials: Annotated[
        int, typer.Option("--trials", min=1, help="Finished trials at the end, those of earlier calls included.")
    ] = 20,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.0, help="No trial begins later than this; 0 for no limit.")
    ] = 0.0,
    target: Annotated[
        str, typer.Option("--target", help="`fusion` for all retrievers at once, or the one to search alone.")
    ] = "fusion",
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Search hyper-parameters on validation and print the best as TOML for the domain's file."""
    settings = settings_of(home)
    built_lake(settings)
    log = settings.root / "logs" / "search.log"
    with diverted_output(log) as console:
        console.print(f"searching {target}; trials are written to {log} and to MLflow", soft_wrap=True, markup=False)
        from orchestration.search import run_search

        outcome = run_search(settings, trials=trials, seconds=seconds, target=target)
    if as_json:
        print_json(outcome)
        return
    out().print(outcome["fragment"], markup=False, soft_wrap=True)
