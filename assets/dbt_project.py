"""The dbt project as a program: its environment, its manifest, its documentation.

dbt runs as a subprocess, because in-process it keeps its connections, and thus its locks, open. What it writes goes
to a folder under the home folder, never into the source tree.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import duckdb
from duckdb_extensions import import_extension
from filelock import FileLock

from assets.bound_process import bound_command
from assets.lake import Lake
from models.errors import ConfigurationError, LakeError

EXTENSIONS = ("ducklake", "sqlite_scanner", "postgres_scanner")
"""DuckDB extensions that dbt's profile loads."""

_FINGERPRINT_FILE = "project.sha256"


@dataclass(frozen=True)
class WarehouseProject:
    """Where the dbt project is and where it may write."""

    source: Path
    """Folder with `dbt_project.yml` and `profiles.yml`; only read."""

    home: Path
    """Folder for everything that dbt writes: `dbt/` under the home folder."""

    @property
    def target(self) -> Path:
        """Folder of the parsed project."""
        return self.home / "target"

    @property
    def manifest(self) -> Path:
        """The parsed project, which the Dagster assets are made from."""
        return self.target / "manifest.json"

    @property
    def docs(self) -> Path:
        """Folder with the generated documentation, one `index.html`."""
        return self.home / "docs"

    @property
    def extensions(self) -> Path:
        """Folder that dbt's DuckDB loads its extensions from."""
        return self.home / "extensions"


def dbt_environment(project: WarehouseProject, lake: Lake) -> dict[str, str]:
    """Environment variables that `profiles.yml` reads, and those that keep dbt quiet and out of the source tree."""
    return {
        "FRESHET_LAKE_CATALOGUE": lake.catalogue,
        "FRESHET_LAKE_DATA_PATH": f"{lake.data_path}/",
        "FRESHET_DUCKDB_EXTENSIONS": str(project.extensions),
        "FRESHET_DUCKDB_MEMORY": lake.memory_limit,
        "FRESHET_DUCKDB_SPILL": str(lake.data_path.parent / "spill"),
        "DBT_PROJECT_DIR": str(project.source),
        "DBT_PROFILES_DIR": str(project.source),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
    }


def build_arguments(window: tuple[date, date] | None) -> list[str]:
    """Command line of a build.

    Args:
        window: First day, and the day after the last; None rebuilds the tables whole.
    """
    # Unit tests check the SQL, not the data: they run with the project's tests.
    arguments = ["build", "--exclude-resource-type", "unit_test"]
    if window is None:
        return arguments
    first, end = window
    return [*arguments, "--event-time-start", first.isoformat(), "--event-time-end", end.isoformat()]


def install_extensions(folder: Path) -> None:
    """Copy the DuckDB extensions from their packages to a folder, unless they are there: nothing is downloaded.

    Raises:
        LakeError: a package is missing or does not fit the version of DuckDB.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"), duckdb.connect(config={"extension_directory": str(folder)}) as connection:
        for name in EXTENSIONS:
            try:
                import_extension(name, con=connection)
            except (ImportError, duckdb.Error) as error:
                package = f"duckdb-extension-{name.replace('_', '-')}"
                raise LakeError(
                    f"cannot install the DuckDB extension {name}: {error}; "
                    f"run `pip install {package}=={duckdb.__version__}`"
                ) from error


def prepare_project(project: WarehouseProject, lake: Lake) -> Path:
    """Install the extensions and parse the project if either changed since the last time; returns the manifest.

    Takes milliseconds when nothing changed and about five seconds otherwise. To be called by commands before they
    load the Dagster definitions, which only read the manifest.

    Raises:
        ConfigurationError: the project is missing or does not parse.
    """
    if not (project.source / "dbt_project.yml").is_file():
        raise ConfigurationError(f"{project.source} holds no dbt_project.yml; point to the folder dbt/ of Freshet")
    install_extensions(project.extensions)
    project.target.mkdir(parents=True, exist_ok=True)
    stamp = project.target / _FINGERPRINT_FILE
    fingerprint = _fingerprint(project.source)
    with FileLock(project.home / ".parse.lock"):
        if project.manifest.is_file() and stamp.is_file() and stamp.read_text() == fingerprint:
            return project.manifest
        run_dbt(project, lake, ["parse"])
        stamp.write_text(fingerprint)
    return project.manifest


def require_manifest(project: WarehouseProject) -> Path:
    """Path of the manifest, for the code location, which must load fast and hence does not parse.

    Raises:
        ConfigurationError: the project was never parsed.
    """
    if not project.manifest.is_file():
        raise ConfigurationError(
            f"the dbt manifest {project.manifest} is missing; any `freshet` command that runs the pipeline makes it, "
            "such as `freshet run --group ingestion`"
        )
    return project.manifest


def generate_docs(project: WarehouseProject, lake: Lake) -> Path:
    """Generate dbt's documentation as one HTML file that needs no server; returns its path.

    Raises:
        ConfigurationError: dbt failed, for instance because nothing was built yet.
    """
    prepare_project(project, lake)
    run_dbt(project, lake, ["docs", "generate", "--static"])
    project.docs.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(project.target / "static_index.html", project.docs / "index.html"))


def dbt_command(arguments: Sequence[str]) -> list[str]:
    """Command line that runs dbt for as long as this process lives."""
    return bound_command([str(Path(sys.executable).with_name("dbt")), *arguments])


def child_environment(project: WarehouseProject, lake: Lake, target: Path) -> dict[str, str]:
    """Whole environment of a dbt process that writes its files to `target`."""
    # The child needs the search paths and locale of this process; no setting is read from them.
    return {
        **os.environ,
        **dbt_environment(project, lake),
        "DBT_TARGET_PATH": str(target),
        "DBT_LOG_PATH": str(target),
    }


def run_dbt(project: WarehouseProject, lake: Lake, arguments: Sequence[str], *, target: Path | None = None) -> None:
    """Run dbt to its end.

    Args:
        project: The project.
        lake: What it works on.
        arguments: Command line.
        target: Folder for what dbt writes; by default that of the parsed project.

    Raises:
        ConfigurationError: dbt failed; has the end of what it said.
    """
    folder = target or project.target
    finished = subprocess.run(
        dbt_command(arguments),
        env=child_environment(project, lake, folder),
        cwd=project.home,
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        raise ConfigurationError(
            f"`dbt {' '.join(arguments)}` failed in {project.source}; details in {folder / 'dbt.log'}:\n"
            f"{finished.stdout[-2000:]}{finished.stderr[-2000:]}"
        )


def _fingerprint(source: Path) -> str:
    """Hash over the project's files and the versions that decide how they are parsed."""
    digest = hashlib.sha256(version("dbt-core").encode() + version("dbt-duckdb").encode())
    for file in sorted(source.rglob("*")):
        inside = file.relative_to(source)
        if file.suffix in {".sql", ".yml", ".md"} and inside.parts[0] not in {"target", "logs"}:
            digest.update(str(inside).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
