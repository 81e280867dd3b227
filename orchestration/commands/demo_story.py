"""What `freshet demo` shows at its end: time, quarantine, evaluation, three users, and what to try next."""

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from models.errors import DataError

if TYPE_CHECKING:
    from assets.domain import Domain
    from assets.lake import Lake
    from orchestration.commands.refresh_view import ShownRefresh
    from orchestration.settings import Settings

_LIST_ROWS = 5
_HISTORY_ITEMS = 5


def tell(console: Console, settings: "Settings", shown: "ShownRefresh", generation: float) -> None:
    """Print all parts.

    Args:
        console: Where to.
        settings: Where everything is.
        shown: What the refresh did.
        generation: Seconds that generating the market took; 0 where it was there.
    """
    from assets.domain import load_domain
    from orchestration.commands.evaluate import accuracy_table, decision_words, report_folder
    from orchestration.commands.quarantine import rules_table
    from orchestration.commands.refresh_view import summary_table
    from orchestration.home import open_lake

    lake, domain = open_lake(settings), load_domain(settings.domain)
    console.print()
    console.print(summary_table(shown, {"generation": generation} if generation else None))
    console.print()
    console.print(rules_table(lake))
    if not shown.report.is_ok:
        return
    folder = report_folder(settings, lake)
    console.print()
    console.print(accuracy_table(folder))
    console.print(escape(decision_words(folder)), soft_wrap=True)
    users = _tell_lists(console, settings, lake, domain)
    _tell_next(console, settings, users)


def _tell_lists(console: Console, settings: "Settings", lake: "Lake", domain: "Domain") -> list[str]:
    from orchestration.commands.lists import example_users, read_history, read_list
    from orchestration.commands.top_k import list_table

    users = example_users(lake, domain.surface)
    if not users:
        raise DataError("nobody has a list; `freshet status` shows which step is missing")
    key = settings.pseudonym_key.get_secret_value()
    for user in users:
        shown = read_list(lake, domain, user, key)
        console.print(f"\n[bold]User {user}[/], latest first: ", end="")
        console.print(" · ".join(escape(title) for title in read_history(lake, user, _HISTORY_ITEMS)))
        console.print(list_table(shown, f"Recommended (first {_LIST_ROWS} of {len(shown.items)})", _LIST_ROWS))
    return users


def _tell_next(console: Console, settings: "Settings", users: list[str]) -> None:
    home = "" if settings.root == Path(".freshet").resolve() else f" --home {settings.root}"
    program = "freshet"
    if shutil.which(program) is None:
        # `make demo` runs it without an activated environment.
        program = os.path.relpath(Path(sys.executable).with_name(program))
    steps = (
        (f"{program} up{home}", "the lineage graph, the checks and the runs in the Dagster UI, the models in MLflow"),
        (f"{program} demo --advance 1{home}", "the next day lands; only that day and what follows from it is built"),
        (f"{program} top-k {users[0]}{home}", "a whole list, its reasons, and what made it when"),
    )
    console.print("\n[bold]Three things to try next[/]")
    for command, says in steps:
        console.print(f"  [bold cyan]{escape(command)}[/]\n      {says}", soft_wrap=True)
