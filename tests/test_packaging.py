"""The project as it is installed and deployed: its four packages, its lock and its compose file."""

import importlib
import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from orchestration.settings import Settings

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "constraints.txt").read_text().splitlines()
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", ["orchestration", "assets", "quality", "models"])
def test_each_package_resolves_inside_the_project(name: str) -> None:
    file = importlib.import_module(name).__file__
    assert file is not None
    assert Path(file) == ROOT / name / "__init__.py"


def test_the_dbt_folder_does_not_hide_dbt_core() -> None:
    assert not list((ROOT / "dbt").rglob("__init__.py"))
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_the_lock_holds_exact_versions_and_nothing_of_one_machine() -> None:
    assert [line for line in LOCK if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)] == []


def test_the_lock_fits_every_direct_dependency() -> None:
    locked = dict((canonical(name), version) for name, _, version in (line.partition("==") for line in LOCK))
    needed = [Requirement(line) for line in requires("freshet") or []]
    needed = [one for one in needed if one.marker is None or one.marker.evaluate({"extra": "dev"})]
    missing = [one.name for one in needed if not one.specifier.contains(locked.get(canonical(one.name), "0"), True)]
    assert missing == []


def test_the_commands_of_the_project_exist() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["freshet"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_compose_has_the_services_with_health_checks() -> None:
    services = COMPOSE["services"]
    own = {"prepare", "code-location", "nearline-location", "webserver", "daemon", "nearline"}
    assert set(services) == {"postgres", "mlflow", *own}
    assert {name for name, service in services.items() if "healthcheck" not in service} == {"prepare"}


def test_compose_uses_the_names_of_the_settings() -> None:
    known = {f"FRESHET_{name.upper()}" for name in Settings.model_fields}
    used = {name for service in COMPOSE["services"].values() for name in service["environment"]}
    assert {name for name in used if name.startswith("FRESHET_")} <= known


def test_compose_has_no_secret_and_no_default_for_one() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    entries = re.findall(r"\$\{(\w*(?:PASSWORD|KEY)\w*)(:\?[^}]+)?\}", text)
    assert entries
    assert [name for name, refusal in entries if not refusal] == []


def test_compose_builds_from_a_file_that_exists() -> None:
    builds = [service["build"] for service in COMPOSE["services"].values() if "build" in service]
    assert {(ROOT / build["context"] / build["dockerfile"]).is_file() for build in builds} == {True}
