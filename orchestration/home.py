"""The home folder: everything that must exist before a definition loads or a run starts."""

import os
from pathlib import Path
from typing import Any

import yaml
from dagster import DagsterInstance
from filelock import FileLock
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from assets.dbt_project import WarehouseProject, prepare_project
from assets.lake import Lake
from assets.sqlite_catalogue import sqlite_file
from models.errors import ConfigurationError
from orchestration import run_coordination
from orchestration.environment import prepare_environment
from orchestration.event_storage import event_log_config
from orchestration.run_coordination import BATCH, LANE, LaneRunCoordinator
from orchestration.settings import Settings

_LANDING_KINDS = ("events", "items", "users")
_DBT_SOURCE = Path(__file__).parents[1] / "dbt"


def warehouse_project(settings: Settings) -> WarehouseProject:
    """The dbt project of this checkout, writing under the home folder."""
    return WarehouseProject(settings.dbt_project or _DBT_SOURCE, settings.root / "dbt")


def open_lake(settings: Settings) -> Lake:
    """The lake that the settings describe."""
    return Lake(
        settings.lake_catalogue,
        settings.lake_data_path,
        settings.lock_path,
        settings.lock_timeout_s,
        settings.memory_limit,
    )


def prepare_home(settings: Settings) -> None:
    """Create folders, tables, Dagster's configuration and storages and the parsed dbt project; what is there stays.

    Raises:
        ConfigurationError: the dbt project is missing or does not parse, or Dagster's storages cannot be opened.
        LakeError: the catalogue cannot be opened.
    """
    for kind in _LANDING_KINDS:
        (settings.landing_path / kind).mkdir(parents=True, exist_ok=True)
    for folder in (settings.artifacts_path, settings.root / "mlflow", settings.dagster_home):
        folder.mkdir(parents=True, exist_ok=True)
    prepare_environment(settings)
    _write_if_changed(settings.dagster_home / "dagster.yaml", yaml.safe_dump(dagster_config(settings)))
    lake = open_lake(settings)
    prepare_project(warehouse_project(settings), lake)
    lake.create_tables()
    # Services that start together open them at once without our lock, and Dagster would stamp them twice.
    open_instance(settings).dispose()


def open_instance(settings: Settings) -> DagsterInstance:
    """Dagster's storages of a home folder that has its configuration; the first process to open them makes them, alone.

    Raises:
        ConfigurationError: PostgreSQL does not answer or refuses, or its address is none.
    """
    with FileLock(settings.dagster_home / ".instance.lock"):
        url = settings.dagster_postgres_url.get_secret_value()
        return _postgres_instance(url) if url else DagsterInstance.get()


def dagster_config(settings: Settings) -> dict[str, Any]:
    """Content of `dagster.yaml`."""
    # A SQLite catalogue takes one writer at a time; runs beside each other would only wait for its lock.
    batch_runs = 4 if sqlite_file(settings.lake_catalogue) is None else 1
    config: dict[str, Any] = {
        "telemetry": {"enabled": False},
        # Without it the UI opens with a form for a newsletter.
        "nux": {"enabled": False},
        "run_coordinator": {"module": run_coordination.__name__, "class": LaneRunCoordinator.__name__},
        "concurrency": {
            "runs": {
                # Runs of the nearline lane count, but never wait.
                "max_concurrent_runs": batch_runs + 1,
                "tag_concurrency_limits": [{"key": LANE, "value": BATCH, "limit": batch_runs}],
            }
        },
        "run_monitoring": {"enabled": True, "free_slots_after_run_end_seconds": 300},
        "sensors": {"use_threads": True, "num_workers": 4},
        "schedules": {"use_threads": True, "num_workers": 2},
        "retention": {
            "schedule": {"purge_after_days": 90},
            "sensor": {"purge_after_days": {"skipped": 7, "failure": 30, "success": 90}},
        },
    }
    if settings.dagster_postgres_url.get_secret_value():
        # The address holds a password, so the file names the variable instead.
        config["storage"] = {"postgres": {"postgres_url": {"env": "FRESHET_DAGSTER_POSTGRES_URL"}}}
    else:
        config["event_log_storage"] = event_log_config(str(settings.dagster_home / "history"))
    return config


def _postgres_instance(url: str) -> DagsterInstance:
    from dagster_postgres.utils import DagsterPostgresException

    try:
        return DagsterInstance.get()
    except ArgumentError as error:
        # The text is not shown, since it may hold a password.
        raise ConfigurationError(
            "FRESHET_DAGSTER_POSTGRES_URL is no address; write postgresql+psycopg2://user:password@host:5432/database"
        ) from error
    except (DagsterPostgresException, DBAPIError) as error:
        address = make_url(url).render_as_string(hide_password=True)
        cause = error.__cause__ or error
        reason = " ".join(str(getattr(cause, "orig", cause)).split())
        raise ConfigurationError(
            f"Dagster's storages at {address} (FRESHET_DAGSTER_POSTGRES_URL) cannot be opened; start PostgreSQL, or "
            f"correct the address: {reason}"
        ) from error


def _write_if_changed(file: Path, text: str) -> None:
    if file.exists() and file.read_text(encoding="utf-8") == text:
        return
    # Of this process: a worker and a refresh may prepare a new home folder at once.
    staging = file.with_suffix(f".{os.getpid()}.tmp")
    staging.write_text(text, encoding="utf-8")
    staging.replace(file)
