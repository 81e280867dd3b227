"""The MLflow edge: runs with their curves, registered models and their aliases. Nothing else imports MLflow.

A model version is made in one step after its files are in place and carries its content version as a tag, so a crash
leaves either no version or a whole one, and registering the same content again finds it.
"""

import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import pandas as pd
from filelock import FileLock
from mlflow import MlflowClient, pyfunc
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature

from models.errors import RegistryError
from models.process_identity import is_dead, this_process

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONTENT_VERSION = "content_version"
"""Tag with the hash of the registered folder."""
FINGERPRINT = "fingerprint"
"""Tag with the hash of what went into a training: data, configuration, base weights, seed."""
_PROCESS = "freshet.process"
_MODEL_FOLDER = "model"
_METRICS_PER_CALL = 500
_PARAMETERS_PER_CALL = 90
_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class RegisteredVersion:
    """One version of a registered model."""

    name: str
    version: int
    content_version: str
    """Hash of the folder that was registered; the artifact store holds it under the same version."""
    location: str
    """URI of the MLflow model."""
    run_id: str
    tags: dict[str, str]
    aliases: tuple[str, ...]


@dataclass(frozen=True)
class RegistryRun:
    """A run in progress."""

    client: MlflowClient
    run_id: str

    def log_parameters(self, parameters: Mapping[str, object]) -> None:
        """Log hyper-parameters; values are stored as text."""
        entries = [Param(name, str(value)) for name, value in parameters.items()]
        for first in range(0, len(entries), _PARAMETERS_PER_CALL):
            self.client.log_batch(self.run_id, params=entries[first : first + _PARAMETERS_PER_CALL])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log figures, all at one step."""
        self.log_curve([(step, metrics)])

    def log_curve(self, points: list[tuple[int, Mapping[str, float]]]) -> None:
        """Log a whole curve at once: figures by step."""
        now = self.client.get_run(self.run_id).info.start_time
        entries = [Metric(key, float(value), now, step) for step, row in points for key, value in row.items()]
        for first in range(0, len(entries), _METRICS_PER_CALL):
            self.client.log_batch(self.run_id, metrics=entries[first : first + _METRICS_PER_CALL])

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Put tags on the run."""
        self.client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in tags.items()])

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or all files of a folder, to the run's artifacts."""
        if path.is_dir():
            self.client.log_artifacts(self.run_id, str(path), folder)
        else:
            self.client.log_artifact(self.run_id, str(path), folder)

    def log_text(self, text: str, name: str) -> None:
        """Store text as an artifact called `name`."""
        self.client.log_text(self.run_id, text, name)

    def log_figure(self, figure: "Figure", name: str) -> None:
        """Store a matplotlib figure as an artifact called `name`."""
        self.client.log_figure(self.run_id, figure, name)


class Registry:
    """Runs and registered models of one MLflow server or database."""

    def __init__(self, tracking_uri: str, artifact_location: str = "") -> None:
        """Connect; an SQLite database is created on first use, by one process at a time.

        Args:
            tracking_uri: Such as `sqlite:////data/mlflow/mlflow.db` or `http://mlflow:5000`.
            artifact_location: Folder or URI for the artifacts of new experiments; empty: the server's choice.

        Raises:
            RegistryError: the URI is a `file:` store, which MLflow no longer has.
        """
        if tracking_uri.startswith("file:") or "://" not in tracking_uri:
            raise RegistryError(
                f"MLflow has no file store: use {_SQLITE}<path> or a server in place of {tracking_uri!r}"
            )
        self._artifact_location = artifact_location.rstrip("/")
        if tracking_uri.startswith(_SQLITE):
            database = Path(tracking_uri.removeprefix(_SQLITE))
            database.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{database}.lock"):
                self.client = _connect(tracking_uri)
        else:
            self.client = _connect(tracking_uri)

    @contextmanager
    def run(
        self,
        experiment: str,
        name: str,
        *,
        fingerprint: str,
        tags: Mapping[str, str] | None = None,
        parent: RegistryRun | None = None,
    ) -> Iterator[RegistryRun]:
        """Open a run, below `parent` where given; it ends as FINISHED, or as FAILED when the block raises.

        Runs of this experiment that a killed process on this machine left open are ended as KILLED first, and their
        unregistered model files removed.
        """
        experiment_id = self._experiment(experiment)
        self._end_dead_runs(experiment_id)
        nesting = {} if parent is None else {"mlflow.parentRunId": parent.run_id}
        all_tags = {FINGERPRINT: fingerprint, _PROCESS: this_process(), **nesting, **(tags or {})}
        run_id = self.client.create_run(experiment_id, tags=all_tags, run_name=name).info.run_id
        status = "FAILED"
        try:
            yield RegistryRun(self.client, run_id)
            status = "FINISHED"
        finally:
            self.client.set_terminated(run_id, status)

    def register(
        self,
        name: str,
        folder: Path,
        *,
        run: RegistryRun,
        content_version: str,
        loader_module: str,
        input_example: pd.DataFrame,
        output_example: Any,
        tags: Mapping[str, str] | None = None,
        alias: str = "challenger",
    ) -> RegisteredVersion:
        """Register a model folder under `name` and point `alias` to it; the same content is registered once.

        Args:
            name: Registered model.
            folder: Files of the model; they are copied.
            run: The run that made it.
            content_version: Hash of `folder`.
            loader_module: Module whose `_load_pyfunc(folder)` returns an object with `predict(frame)`; nothing is
                pickled.
            input_example: What `predict` takes.
            output_example: What it answers; with the input it gives the signature.
            tags: Tags of the version, such as the data snapshot.
            alias: Moves from whichever version had it.
        """
        known = self.find(name, CONTENT_VERSION, content_version)
        if known is None:
            location = self._store_model(run.run_id, folder, loader_module, input_example, output_example)
            version_tags = {CONTENT_VERSION: content_version, **(tags or {})}
            made = self.client.create_model_version(name, location, run.run_id, tags=version_tags)
            known = _registered(made)
        self.promote(name, known.version, alias)
        return self.resolve(name, alias)

    def promote(self, name: str, version: int, alias: str = "champion") -> None:
        """Point an alias to a version.

        Raises:
            RegistryError: there is no such model or version.
        """
        with _explained(f"model {name!r} has no version {version}; `list_versions` shows those it has"):
            self.client.get_model_version(name, str(version))
            self.client.set_registered_model_alias(name, alias, str(version))

    def resolve(self, name: str, alias: str = "champion") -> RegisteredVersion:
        """The version that an alias points to.

        Raises:
            RegistryError: there is no such model or alias.
        """
        with _explained(f"no model {name!r} with the alias {alias!r}; train and promote one first"):
            found = self.client.get_model_version_by_alias(name, alias)
            return _registered(self.client.get_model_version(name, found.version))

    def find(self, name: str, tag: str, value: str) -> RegisteredVersion | None:
        """The latest version of a model with a tag of that value, or None."""
        return next((known for known in self.list_versions(name) if known.tags.get(tag) == value), None)

    def list_versions(self, name: str) -> list[RegisteredVersion]:
        """All versions of a model, latest first; none for an unknown model."""
        self._ensure_model(name)
        found = self.client.search_model_versions(f"name = '{name}'")
        whole = [self.client.get_model_version(name, version.version) for version in found]
        return sorted((_registered(version) for version in whole), key=lambda known: -known.version)

    def _store_model(
        self, run_id: str, folder: Path, loader_module: str, input_example: pd.DataFrame, output_example: Any
    ) -> str:
        """Copy the folder as an MLflow model into the run's artifacts; returns its URI."""
        with tempfile.TemporaryDirectory(prefix="freshet-model-") as staging:
            path = Path(staging) / _MODEL_FOLDER
            with warnings.catch_warnings():  # MLflow 3.17 warns about its own type hints and its own use of pandas
                warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType")
                warnings.filterwarnings("ignore", message="Operation with range is deprecated")
                pyfunc.save_model(
                    path,
                    loader_module=loader_module,
                    data_path=str(folder),
                    signature=infer_signature(input_example, output_example),
                    input_example=input_example,
                    pip_requirements=["freshet"],
                )
            self.client.log_artifacts(run_id, str(path), _MODEL_FOLDER)
        return f"{self.client.get_run(run_id).info.artifact_uri}/{_MODEL_FOLDER}"

    def _experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        location = f"{self._artifact_location}/{name}" if self._artifact_location else None
        try:
            return str(self.client.create_experiment(name, artifact_location=location))
        except MlflowException as error:
            made = self.client.get_experiment_by_name(name)  # by another process in between
            if made is None:
                raise RegistryError(f"MLflow refused the experiment {name!r}: {error.message}") from error
            return str(made.experiment_id)

    def _ensure_model(self, name: str) -> None:
        try:
            self.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise RegistryError(f"MLflow refused the model name {name!r}: {error.message}") from error

    def _end_dead_runs(self, experiment_id: str) -> None:
        for run in self.client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
            if is_dead(run.data.tags.get(_PROCESS, "")):
                self._remove_model_files(run)
                self.client.set_terminated(run.info.run_id, "KILLED")

    def _remove_model_files(self, run: Run) -> None:
        """Remove what a killed run stored but never registered, where the artifacts are on this machine."""
        address = urlparse(run.info.artifact_uri)
        registered = self.client.search_model_versions(f"run_id = '{run.info.run_id}'")
        if address.scheme in ("", "file") and not registered:
            shutil.rmtree(Path(unquote(address.path)) / _MODEL_FOLDER, ignore_errors=True)


def _connect(tracking_uri: str) -> MlflowClient:
    """A client whose database exists: MLflow creates it at the first query."""
    client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
    client.search_experiments(max_results=1)
    return client


def _registered(version: ModelVersion) -> RegisteredVersion:
    return RegisteredVersion(
        name=version.name,
        version=int(version.version),
        content_version=version.tags.get(CONTENT_VERSION, ""),
        location=version.source,
        run_id=version.run_id,
        tags=dict(version.tags),
        aliases=tuple(version.aliases),
    )


@contextmanager
def _explained(message: str) -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        raise RegistryError(message) from error
