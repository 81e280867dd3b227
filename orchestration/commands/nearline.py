"""`freshet nearline`: the warm worker that keeps the lists of touched users fresh within seconds."""

import sys
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.commands.console import Exit, HomeOption, err, log_to_stderr, settings_of

if TYPE_CHECKING:
    from assets.batch_report import BatchReport

DEFAULT_PORT = 9464
SWITCH_S = 0.0005
"""Seconds for which another thread of the worker may keep a batch waiting."""


@dataclass
class Taken:
    """What a worker has taken in so far."""

    rows: int = 0
    accepted: int = 0
    quarantined: int = 0
    duplicate: int = 0
    lists: int = 0

    def add(self, batch: "BatchReport") -> None:
        """Count one batch."""
        self.rows += batch.counts.rows_in
        self.accepted += batch.counts.accepted
        self.quarantined += batch.counts.quarantined
        self.duplicate += batch.counts.duplicate
        self.lists += batch.users

    def __str__(self) -> str:
        counts = f"{self.accepted:,} accepted, {self.quarantined:,} in quarantine, {self.duplicate:,} repeated"
        return f"{self.rows:,} rows taken in: {counts}; lists renewed: {self.lists:,}"


def nearline(
    host: Annotated[str, typer.Option(help="Address of the health and metrics pages.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Their port; 0 takes a free one.")] = DEFAULT_PORT,
    once: Annotated[bool, typer.Option("--once", help="Take in what is there, then end.")] = False,
    home: HomeOption = None,
) -> None:
    """Take events in as they come and renew the lists of the users they touch, until Ctrl-C."""
    settings = settings_of(home)
    log_to_stderr()
    with err().status("preparing the home folder"):
        from orchestration.home import open_lake, prepare_home

        prepare_home(settings)
    from assets.catalogue_keeper import kept_open
    from assets.mirrors.held_lists import CommittedLists
    from orchestration.commands.up import stop_signal
    from orchestration.mirroring import followed_mirror
    from orchestration.nearline_assembly import build_worker
    from orchestration.nearline_metrics import HealthServer, NearlineMetrics
    from orchestration.nearline_report import ReportProcess, ReportThread

    # A batch is many short calls that let other threads run; each must get its turn back sooner than after 5 ms.
    sys.setswitchinterval(SWITCH_S)
    metrics, taken = NearlineMetrics(), Taken()
    with (
        stop_signal() as stop,
        kept_open(open_lake(settings).catalogue),
        followed_mirror(settings, metrics) as notify,
        closing(ReportProcess(metrics)) as write_report,
        ReportThread(write_report) as reporter,
    ):

        def report(batch: "BatchReport") -> None:
            taken.add(batch)
            notify(batch.snapshot, batch.lists)
            # Reports may wait; what they do not tell is not kept for them.
            reporter(replace(batch, lists=None))

        def on_upkeep(snapshot: int) -> None:
            notify(snapshot, CommittedLists.none())

        worker = build_worker(settings, metrics, report=report, on_upkeep=on_upkeep)
        with HealthServer(host, port, metrics, worker.health) as server:
            address = f"http://{host}:{server.port}"
            err().print(f"{address}/health, {address}/metrics; Ctrl-C stops after the batch under way")
            led = worker.run(stop, until_idle=once)
    if not led:
        err().print("another worker leads; nothing was done")
        raise typer.Exit(Exit.ERROR)
    err().print(str(taken))
