"""A refresh in the terminal: what is at work, each asset as it ends, and where the time went."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from orchestration.commands.console import diverted_output, duration

if TYPE_CHECKING:
    from orchestration.refresh import RefreshReport, StepReport
    from orchestration.settings import Settings

_SIGNS = {"built": "[green]✓[/]", "skipped": "[dim]·[/]", "failed": "[bold red]✗[/]"}


@dataclass(frozen=True)
class ShownRefresh:
    """What a refresh did, and how long each part of it took."""

    report: "RefreshReport"
    seconds: dict[str, float]
    """Seconds by the clock on the wall, by group: assets, their checks and the overhead of the run."""


def refresh_and_show(
    settings: "Settings",
    *,
    groups: Collection[str] = (),
    days: tuple[date, date] | None = None,
    force: bool = False,
) -> ShownRefresh:
    """Refresh with a live view on standard error; what the libraries print goes to `logs/refresh.log`.

    Raises:
        FreshetError: the refresh cannot begin or has nothing to work on.
    """
    log = settings.root / "logs" / "refresh.log"
    with diverted_output(log) as console:
        view = _View(console, groups)
        with view.progress:
            from orchestration.refresh import refresh

            report = refresh(settings, groups=groups, days=days, force=force, on_step=view.step)
        if not report.is_ok:
            console.print(f"[bold red]failed[/]; the details are in {log} and in the Dagster UI (`freshet up`)")
    return ShownRefresh(report, view.seconds)


class _View:
    """Lines for what has ended above one live line for what is at work."""

    def __init__(self, console: Console, groups: Collection[str]) -> None:
        from assets.graph import GROUPS

        self._order = [group for group in GROUPS if not groups or group in groups] or list(groups)
        self.progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True
        )
        self._task: TaskID = self.progress.add_task(f"preparing, then {self._order[0]}")
        self._group = ""
        self._since = time.monotonic()
        self.seconds: dict[str, float] = {}

    def step(self, step: "StepReport") -> None:
        """Print an asset that has ended and announce the group after its own."""
        if step.group != self._group:
            self._group = step.group
            place = self._order.index(step.group) + 1
            following = self._order[place] if place < len(self._order) else "finishing"
            self.progress.reset(self._task, description=following)
            # The assets of a group are reported together, when its run has ended.
            self.seconds[step.group] = time.monotonic() - self._since
            self._since = time.monotonic()
        self.progress.console.print(_step_line(step), soft_wrap=True)


def _step_line(step: "StepReport") -> str:
    name = step.asset if step.asset == step.group else f"{step.group} / {step.asset}"
    time_or_reason = duration(step.seconds) if step.status == "built" else f"{step.status}: {step.reason}"
    return f"{_SIGNS[step.status]} {name}  [dim]{escape(time_or_reason)}[/]"


def summary_table(shown: ShownRefresh, before: dict[str, float] | None = None) -> Table:
    """Where the time went, by group.

    Args:
        shown: What the refresh did.
        before: Seconds of work before the refresh, by name.
    """
    report = shown.report
    table = Table(title="Where the time went, checks and start-up included", title_justify="left")
    table.add_column("group")
    table.add_column("time", justify="right")
    table.add_column("built")
    table.add_column("skipped, and why")
    for name, seconds in (before or {}).items():
        table.add_row(name, duration(seconds), "", "")
    groups = dict.fromkeys(step.group for step in report.steps)
    for group in groups:
        steps = [step for step in report.steps if step.group == group]
        built = [step.asset for step in steps if step.status == "built"]
        rest = [_why(step) for step in steps if step.status != "built"]
        name = group if table.row_count > len(before or {}) else f"start-up, {group}"
        table.add_row(name, duration(shown.seconds[group]), ", ".join(built), escape("; ".join(rest)))
    total = sum(shown.seconds.values()) + sum((before or {}).values())
    table.add_row("[bold]in all", f"[bold]{duration(total)}", "", "")
    return table


def _why(step: "StepReport") -> str:
    return step.reason if step.asset == step.group else f"{step.asset}: {step.reason}"
