"""The project as it is installed and deployed: its four packages, its lock and its compose file."""

import importlib
import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from pydantic import SecretStr

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
    streams = {name for name, service in services.items() if service.get("profiles") == ["streams"]}
    assert streams == {"redis", "kafka", "kafka-topic"}
    assert set(services) == {"postgres", "mlflow", *own, *streams}
    assert {name for name, service in services.items() if "healthcheck" not in service} == {"prepare", "kafka-topic"}


def test_what_starts_without_a_profile_needs_nothing_of_one() -> None:
    services = COMPOSE["services"]
    always = [service for service in services.values() if "profiles" not in service]
    needed = {name for service in always for name in service.get("depends_on", ())}
    assert needed
    assert {name for name in needed if "profiles" in services[name]} == set()


def test_compose_pins_the_images_that_it_does_not_build() -> None:
    images = {service["image"] for service in COMPOSE["services"].values() if "build" not in service}
    assert len(images) == 3
    assert [image for image in images if not re.fullmatch(r"[a-z/]+:\d+(\.\d+)*", image)] == []


def test_compose_uses_the_names_of_the_settings() -> None:
    known = {f"FRESHET_{name.upper()}" for name in Settings.model_fields}
    used = {name for service in COMPOSE["services"].values() for name in service.get("environment", ())}
    assert {name for name in used if name.startswith("FRESHET_")} <= known


@pytest.mark.parametrize("service", ["nearline", "nearline-location"])
def test_compose_hands_the_settings_of_streams_on_with_their_own_defaults(service: str) -> None:
    given = COMPOSE["services"][service]["environment"]
    for name in ("nearline_redis_url", "nearline_redis_stream", "nearline_kafka", "nearline_kafka_topic"):
        default = Settings.model_fields[name].default
        text = default.get_secret_value() if isinstance(default, SecretStr) else default
        variable = f"FRESHET_{name.upper()}"
        assert given[variable] == f"${{{variable}:-{text}}}"
    assert given["FRESHET_MIRROR"] == "${FRESHET_MIRROR:-off}"


def test_compose_has_no_secret_and_no_default_for_one() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    entries = re.findall(r"\$\{(\w*(?:PASSWORD|KEY)\w*)(:\?[^}]+)?\}", text)
    assert entries
    assert [name for name, refusal in entries if not refusal] == []


def test_compose_builds_from_a_file_that_exists() -> None:
    builds = [service["build"] for service in COMPOSE["services"].values() if "build" in service]
    assert {(ROOT / build["context"] / build["dockerfile"]).is_file() for build in builds} == {True}
