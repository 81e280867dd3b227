"""What must be right on this machine for Freshet to work, and how to mend what is not."""

import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any, Literal

import duckdb
import psutil
from packaging.requirements import Requirement
from pydantic import SecretStr

from assets.secret_text import without_passwords
from assets.sqlite_catalogue import sqlite_file
from models.errors import FreshetError
from orchestration.settings import Settings, origins

Level = Literal["ok", "warning", "broken"]

_PYTHON = (3, 11)
_GIB = 1024**3
_LEAST_DISK, _ENOUGH_DISK = 1 * _GIB, 5 * _GIB
_ENOUGH_MEMORY = 4 * _GIB
_PORTS = {3000: "the Dagster UI", 5000: "the MLflow UI", 3080: "the dbt docs"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    level: Level
    says: str
    remedy: str = ""
    """How to mend it; empty when it is ok."""


@dataclass(frozen=True)
class SettingInForce:
    """One setting as it is, safe to print."""

    name: str
    variable: str
    value: str
    """Secrets are masked."""

    origin: str
    """`command line`, `environment`, `freshet.toml` or `default`."""


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything, cheap things first."""
    for check in _CHECKS:
        yield from check(settings)


def settings_in_force(settings: Settings) -> list[SettingInForce]:
    """Every setting, where it came from, and its value with secrets masked."""
    sources = origins(settings)
    return [
        SettingInForce(name, f"FRESHET_{name.upper()}", masked(getattr(settings, name)), sources[name])
        for name in Settings.model_fields
    ]


def masked(value: Any) -> str:
    """A value as text, without what is secret in it: secrets as a whole, passwords within addresses."""
    if isinstance(value, SecretStr):
        return "***" if value.get_secret_value() else ""
    if isinstance(value, list):
        return f"[{', '.join(masked(entry) for entry in value)}]"
    text = "" if value is None else str(value)
    return without_passwords(text)


def _python(settings: Settings) -> Iterator[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= _PYTHON:
        yield Finding("python", "ok", found)
    else:
        yield Finding("python", "broken", f"{found} is too old", "install Python 3.11 or newer and run `make install`")


def _packages(settings: Settings) -> Iterator[Finding]:
    """Installed versions against the pins of the project."""
    wrong = []
    needed = [Requirement(line) for line in requires("freshet") or []]
    needed = [one for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    for requirement in needed:
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} is {found}, wanted {requirement.specifier}")
    if wrong:
        remedy = "run `make clean install`, or `pip install -c constraints.txt -e .`"
        yield Finding("packages", "broken", "; ".join(wrong), remedy)
    else:
        yield Finding("packages", "ok", f"{len(needed)} direct dependencies fit their pins")


def _extensions(settings: Settings) -> Iterator[Finding]:
    from assets.dbt_project import EXTENSIONS
    from assets.duckdb_engines import extension_file

    for name in EXTENSIONS:
        with duckdb.connect(":memory:") as connection:
            try:
                connection.execute(f"LOAD '{extension_file(name)}'")
            except (FreshetError, duckdb.Error) as error:
                package = f"duckdb-extension-{name.replace('_', '-')}"
                remedy = f"run `pip install --force-reinstall {package}=={duckdb.__version__}`"
                yield Finding(f"duckdb {name}", "broken", str(error), remedy)
            else:
                yield Finding(f"duckdb {name}", "ok", f"loads into DuckDB {duckdb.__version__}")


def _domain(settings: Settings) -> Iterator[Finding]:
    from assets.domain import load_domain

    yield _outcome("domain", lambda: f"{load_domain(settings.domain).name} is valid", "correct FRESHET_DOMAIN")


def _dbt(settings: Settings) -> Iterator[Finding]:
    from orchestration.home import warehouse_project

    source = warehouse_project(settings).source
    if (source / "dbt_project.yml").is_file():
        yield Finding("dbt project", "ok", str(source))
    else:
        remedy = "set FRESHET_DBT_PROJECT to the folder dbt/ of Freshet"
        yield Finding("dbt project", "broken", f"{source} holds no dbt_project.yml", remedy)


def _lake(settings: Settings) -> Iterator[Finding]:
    from orchestration.home import open_lake

    file = sqlite_file(settings.lake_catalogue)
    if file is not None and not file.exists():
        yield Finding("lake", "ok", f"none yet under {settings.root}; `freshet demo` or `freshet load` begins one")
        return
    remedy = "check FRESHET_CATALOGUE, and that its server answers; a damaged file comes back from a backup"
    yield _outcome("lake", lambda: f"opens at snapshot {open_lake(settings).current_snapshot()}", remedy)


def _encoder(settings: Settings) -> Iterator[Finding]:
    from models.encoder_weights import find_weights

    def find() -> str:
        weights = find_weights(settings.encoder, settings.encoder_sha256)
        return f"{settings.encoder} is whole, version {weights.version}"

    yield _outcome("encoder weights", find, "do what the message says, or set FRESHET_ENCODER")


def _disk(settings: Settings) -> Iterator[Finding]:
    place = next(folder for folder in (settings.root, *settings.root.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    says = f"{free / _GIB:,.1f} GiB free at {place}"
    remedy = "free some space, or move the home folder with FRESHET_HOME"
    level: Level = "broken" if free < _LEAST_DISK else "warning" if free < _ENOUGH_DISK else "ok"
    yield Finding("disk", level, says, "" if level == "ok" else remedy)


def _memory(settings: Settings) -> Iterator[Finding]:
    free = psutil.virtual_memory().available
    says = f"{free / _GIB:,.1f} GiB available"
    if free >= _ENOUGH_MEMORY:
        yield Finding("memory", "ok", says)
    else:
        yield Finding("memory", "warning", says, "the demo needs about 4 GiB; end other programs")


def _ports(settings: Settings) -> Iterator[Finding]:
    for port, purpose in _PORTS.items():
        if is_port_free(port):
            yield Finding(f"port {port}", "ok", f"free for {purpose}")
        else:
            remedy = f"if that is not Freshet's own {purpose.removeprefix('the ')}, give `freshet up` another port"
            yield Finding(f"port {port}", "warning", "another program listens there", remedy)


def _key(settings: Settings) -> Iterator[Finding]:
    if settings.uses_demo_key:
        yield Finding(
            "pseudonym key",
            "warning",
            "the public demo key is in use, so pseudonyms can be traced back to user ids",
            'before loading real data: export FRESHET_PSEUDONYM_KEY="$(openssl rand -hex 32)", and keep it',
        )
    else:
        yield Finding("pseudonym key", "ok", "your own")


_CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _python,
    _packages,
    _disk,
    _memory,
    _ports,
    _key,
    _domain,
    _dbt,
    _extensions,
    _lake,
    _encoder,
)


def is_port_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether nothing listens at a port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) != 0


def _outcome(name: str, look: Callable[[], str], remedy: str) -> Finding:
    try:
        return Finding(name, "ok", look())
    except FreshetError as error:
        return Finding(name, "broken", str(error), remedy)
