"""`freshet up`: the user interfaces, the daemon and the nearline worker, until Ctrl-C."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.commands.child_processes import ChildProcesses, Service
from orchestration.commands.console import HomeOption, err, out, settings_of

if TYPE_CHECKING:
    from orchestration.settings import Settings

_START_SECONDS = 180.0
_MODULES = ("-m", "orchestration.definitions", "-m", "orchestration.nearline_definitions")
"""The code locations: the batch lane, and the sensor path of the nearline lane."""


def up(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow UI.")] = 5000,
    docs_port: Annotated[int, typer.Option(help="Port of the dbt docs.")] = 3080,
    nearline_port: Annotated[int, typer.Option(help="Port of the nearline worker's metrics; 0: no worker.")] = 9464,
    home: HomeOption = None,
) -> None:
    """Start the Dagster UI and daemon, the MLflow UI, the dbt docs and the nearline worker; Ctrl-C stops them all."""
    settings = settings_of(home)
    console = err()
    with console.status("preparing the home folder"):
        from orchestration.home import prepare_home

        prepare_home(settings)
        docs = _dbt_docs(settings)
    services = [
        *_dagster(host, port),
        *_mlflow(settings, host, mlflow_port),
        *_docs_server(docs, host, docs_port),
        *_nearline(host, nearline_port),
    ]
    ports = {"--port": port, "--mlflow-port": mlflow_port, "--docs-port": docs_port, "--nearline-port": nearline_port}
    _check_ports(host, {option: number for option, number in ports.items() if number})
    # The children need the search paths and locale of this process; no setting is read from them.
    environment = dict(os.environ)
    if "ui_url" not in settings.model_fields_set:
        # Links in alerts lead to where the UI is.
        environment["FRESHET_UI_URL"] = f"http://{host}:{port}"
    with stop_signal() as stop, ChildProcesses(settings.root / "logs", environment) as children:
        with console.status("starting") as status:
            for service in services:
                children.start(service)
            for service in services:
                status.update(f"waiting for {service.name}")
                children.wait_until_ready(service, _START_SECONDS)
        for service in services:
            if service.url:
                out().print(f"{service.url}  {service.says}")
        if settings.tracking_uri.startswith("http"):
            out().print(f"{settings.tracking_uri}  MLflow: runs, models and their aliases")
        console.print(f"Ctrl-C stops them; their logs are in {settings.root / 'logs'}", soft_wrap=True)
        children.watch(stop.is_set)
    console.print("stopped")


def _dagster(host: str, port: int) -> Iterator[Service]:
    programs = Path(sys.executable).parent
    yield Service(
        "dagster-webserver",
        [str(programs / "dagster-webserver"), *_MODULES, "-h", host, "-p", str(port)],
        f"http://{host}:{port}",
        "Dagster: the lineage graph, checks, runs and backfills",
        f"http://{host}:{port}/server_info",
    )
    yield Service("dagster-daemon", [str(programs / "dagster-daemon"), "run", *_MODULES], "", "")


def _mlflow(settings: "Settings", host: str, port: int) -> Iterator[Service]:
    if settings.tracking_uri.startswith("http"):
        return
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", settings.tracking_uri]
    command += ["--default-artifact-root", settings.mlflow_artifacts, "--no-serve-artifacts", "--workers", "1"]
    yield Service(
        "mlflow",
        [*command, "--host", host, "--port", str(port)],
        f"http://{host}:{port}",
        "MLflow: runs, models and their aliases",
        f"http://{host}:{port}/health",
    )


def _docs_server(docs: Path | None, host: str, port: int) -> Iterator[Service]:
    if docs is None:
        return
    yield Service(
        "dbt-docs",
        [sys.executable, "-m", "http.server", str(port), "--bind", host, "--directory", str(docs.parent)],
        f"http://{host}:{port}",
        "dbt docs: tables, columns and their tests",
        f"http://{host}:{port}/index.html",
    )


def _nearline(host: str, port: int) -> Iterator[Service]:
    if not port:
        return
    url = f"http://{host}:{port}"
    program = str(Path(sys.executable).with_name("freshet"))
    yield Service(
        "nearline",
        [program, "nearline", "--host", host, "--port", str(port)],
        f"{url}/health",
        "nearline worker: events reach the lists of their users within seconds",
        f"{url}/metrics",
    )


def _dbt_docs(settings: "Settings") -> Path | None:
    """The documentation of the warehouse, made anew where the project has changed; None before the first run."""
    from assets.dbt_project import generate_docs
    from orchestration.commands.console import built_lake
    from orchestration.home import warehouse_project

    project, lake = warehouse_project(settings), built_lake(settings)
    page = project.docs / "index.html"
    if page.exists() and page.stat().st_mtime >= project.manifest.stat().st_mtime:
        return page
    if lake.fingerprint("marts.items", where="false") == "absent":
        err().print("no dbt docs yet: nothing has been built; `freshet demo` or `freshet run` does it")
        return None
    return generate_docs(project, lake)


def _check_ports(host: str, ports: dict[str, int]) -> None:
    from models.errors import ConfigurationError
    from orchestration.doctor import is_port_free

    for option, port in ports.items():
        if not is_port_free(port, host):
            raise ConfigurationError(f"another program listens at port {port}; end it, or give another with {option}")


@contextmanager
def stop_signal() -> Iterator[Event]:
    """An event that Ctrl-C and SIGTERM set, even where a shell started this process with SIGINT ignored."""
    stop = Event()

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
