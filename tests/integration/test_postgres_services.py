"""The services of `docker-compose.yml`, run natively against PostgreSQL with the very commands of that file."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import orjson
import psycopg2
import pytest
import yaml

from assets.lake import Lake
from models.schema import ITEM_TEXTS, OPS_FILES, OPS_PENDING_DAYS

pytestmark = [pytest.mark.integration, pytest.mark.slow]

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
SERVER = "postgresql://postgres@127.0.0.1:5432"
START_SECONDS = 240


@pytest.fixture(scope="module")
def databases(new_database: Callable[[str], str]) -> dict[str, str]:
    """A database for each role, dropped at the end."""
    return {role: new_database(role) for role in ("dagster", "mlflow", "lake", "writers")}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Stack:
    """The compose file, translated to this machine."""

    home: Path
    databases: dict[str, str]
    ports: dict[str, int]
    services: dict[str, Any]
    configs: dict[str, Any]

    def write_workspace(self) -> None:
        """The workspace file of the compose file, with the code locations on this machine."""
        workspace = yaml.safe_load(self.configs["workspace"]["content"])
        for location in workspace["load_from"]:
            server = location["grpc_server"]
            location["grpc_server"] = {**server, "host": "127.0.0.1", "port": self.ports[str(server["port"])]}
        (self.home / "workspace.yaml").write_text(yaml.safe_dump(workspace))

    def command(self, service: str) -> list[str]:
        program, *rest = [self.here(word) for word in self.services[service]["command"]]
        return [str(Path(sys.executable).with_name(program)), *rest]

    def environment(self, service: str) -> dict[str, str]:
        own = {name: self.here(str(value)) for name, value in self.services[service]["environment"].items()}
        return {**os.environ, "PYTHONUNBUFFERED": "1", **own}

    def here(self, text: str) -> str:
        """Container names, folders, ports and databases become those of this machine."""
        text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
        text = re.sub(r"\$\{\w+:\?[^}]*\}", "unused", text)
        text = text.replace("freshet:unused@postgres:5432", "postgres@127.0.0.1:5432")
        text = text.replace("host=postgres user=freshet", "host=127.0.0.1 user=postgres")
        text = re.sub(r"(?<=:)//(code-location|mlflow)", "//127.0.0.1", text)
        text = re.sub(r"=0\.0\.0\.0$", "=127.0.0.1", text).replace("/etc/freshet", str(self.home))
        text = text.replace("mlflow:5000", "127.0.0.1:5000")
        for name, port in self.ports.items():
            text = re.sub(rf"(?<=[:=]){name}\b", str(port), text)
        for role, database in self.databases.items():
            text = re.sub(rf"(?<=dbname=){role}\b|(?<=5432/){role}\b", database, text)
        return text.replace("/freshet", str(self.home)) if text.startswith("/freshet") or "=/freshet" in text else text

    def url(self, port: str) -> str:
        return f"http://127.0.0.1:{self.ports[port]}"

    def run(self, service: str) -> None:
        subprocess.run(self.command(service), env=self.environment(service), check=True, timeout=START_SECONDS)


@pytest.fixture(scope="module")
def stack(databases: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All services started in the order of their dependencies."""
    compose = yaml.safe_load(COMPOSE.read_text())
    home = tmp_path_factory.mktemp("freshet")
    ports = {port: free_port() for port in ("3000", "4000", "4001", "5000")}
    made = Stack(home, databases, ports, compose["services"], compose["configs"])
    (home / "mlflow").mkdir()
    made.write_workspace()
    running: dict[str, subprocess.Popen[bytes]] = {}

    def start(service: str) -> None:
        with (home / f"{service}.log").open("wb") as log:
            running[service] = subprocess.Popen(
                made.command(service),
                env=made.environment(service),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    try:
        start("mlflow")
        made.run("prepare")
        for location in ("code-location", "nearline-location"):
            start(location)
        for location in ("code-location", "nearline-location"):
            wait_for(partial(is_healthy, made, location), home / f"{location}.log")
        start("webserver")
        start("daemon")
        yield made
    finally:
        for process in running.values():
            os.killpg(process.pid, 15)
        for process in running.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()


def is_healthy(stack: Stack, service: str) -> bool:
    """Run the health check of the compose file."""
    kind, program, *words = stack.services[service]["healthcheck"]["test"]
    assert kind == "CMD"
    command = [str(Path(sys.executable).with_name(program)), *(stack.here(word) for word in words)]
    checked = subprocess.run(command, env=stack.environment(service), capture_output=True, timeout=60, check=False)
    return checked.returncode == 0


def wait_for(is_true: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not in time; {log}:\n{log.read_text()[-3000:]}")
        time.sleep(1)


def get(url: str, query: str | None = None) -> Any:
    body = None if query is None else orjson.dumps({"query": query})
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return orjson.loads(response.read())


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def test_the_webserver_answers_and_has_the_code_location(stack: Stack) -> None:
    wait_for(lambda: is_healthy(stack, "webserver"), stack.home / "webserver.log")
    fields = "location { name } assetGroups { groupName }"
    loaded = f"{{ repositoriesOrError {{ ... on RepositoryConnection {{ nodes {{ {fields} }} }} }} }}"
    nodes = get(f"{stack.url('3000')}/graphql", loaded)["data"]["repositoriesOrError"]["nodes"]
    groups = {group["groupName"] for node in nodes for group in node["assetGroups"]}
    assert {"ingestion", "warehouse", "serving"} <= groups
    names = {node["location"]["name"] for node in nodes}
    assert names == {"orchestration.definitions", "orchestration.nearline_definitions"}


def test_dagster_keeps_its_runs_in_postgres(stack: Stack) -> None:
    connection = psycopg2.connect(f"{SERVER}/{stack.databases['dagster']}")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM information_schema.tables WHERE table_name IN ('runs', 'event_logs')")
        assert cursor.fetchone() == (2,)
    connection.close()
    assert "FRESHET_DAGSTER_POSTGRES_URL" in (stack.home / "dagster" / "dagster.yaml").read_text()


def test_the_daemon_is_alive(stack: Stack) -> None:
    wait_for(lambda: is_healthy(stack, "daemon"), stack.home / "daemon.log")


def test_mlflow_is_healthy_and_takes_a_run_with_a_file(stack: Stack, tmp_path: Path) -> None:
    from models.registry import Registry

    wait_for(lambda: is_healthy(stack, "mlflow"), stack.home / "mlflow.log")
    (tmp_path / "note.txt").write_text("kept")
    registry = Registry(stack.url("5000"))
    with registry.run("freshet-test", "one", fingerprint="f") as run:
        run.log_metrics({"ndcg_at_10": 0.5})
        run.log_artifact(tmp_path / "note.txt")
    kept = registry.client.get_run(run.run_id)
    assert kept.data.metrics == {"ndcg_at_10": 0.5}
    assert [file.path for file in registry.client.list_artifacts(run.run_id)] == ["note.txt"]
    assert [path.name for path in (stack.home / "mlflow" / "artifacts").rglob("note.txt")] == ["note.txt"]


def test_the_lake_was_prepared_in_postgres(stack: Stack) -> None:
    catalogue = stack.environment("prepare")["FRESHET_CATALOGUE"]
    lake = Lake(catalogue, stack.home / "lake" / "data", stack.home / "lake" / "write.lock")
    assert lake.frame("SELECT count(*) AS n FROM serving.top_k")["n"].tolist() == [0]


def insert(sql: str, connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(sql)


def test_two_hosts_write_different_tables_at_once(databases: dict[str, str], tmp_path: Path) -> None:
    catalogue = f"postgres:dbname={databases['writers']} host=127.0.0.1 user=postgres"
    # With a lock file of its own each, as on two hosts.
    lakes = [Lake(catalogue, tmp_path / "data", tmp_path / f"host{number}.lock") for number in range(2)]
    lakes[0].create_tables()

    def write(number: int) -> None:
        table = (OPS_PENDING_DAYS, ITEM_TEXTS)[number].qualified_name
        row = ("DATE '2026-01-01' + {0}, {0}", "'i{0}', 'text', 'hash'")[number]
        for index in range(8):
            sql = f"INSERT INTO {table} SELECT {row.format(index)}"
            lakes[number].write(partial(insert, sql), message=f"host {number}")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, range(2)))
    assert lakes[0].frame(f"SELECT count(*) AS n FROM {OPS_PENDING_DAYS.qualified_name}")["n"].tolist() == [8]
    assert lakes[1].frame(f"SELECT count(*) AS n FROM {ITEM_TEXTS.qualified_name}")["n"].tolist() == [8]
    assert lakes[0].frame(f"SELECT count(*) AS n FROM {OPS_FILES.qualified_name}")["n"].tolist() == [0]
