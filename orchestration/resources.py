"""Settings → resource instances: the one place that decides what the assets run against."""

import subprocess
from pathlib import Path
from typing import Any

from dagster import EnvVar

from assets.dbt_models import WarehouseDbt
from assets.resources import (
    ArtifactResource,
    DomainResource,
    EncoderResource,
    LakeResource,
    LandingResource,
    MirrorResource,
    RegistryResource,
)
from orchestration.alert_delivery import build_notifier
from orchestration.home import warehouse_project
from orchestration.settings import Settings


def build_resources(settings: Settings) -> dict[str, Any]:
    """Resource instances by the names that assets ask for.

    What may hold a password is named, not given: the UI shows the values of resources. `prepare_environment` sets the
    variables.
    """
    return {
        "lake": LakeResource(
            catalogue=EnvVar("FRESHET_LAKE_CATALOGUE"),
            data_path=str(settings.lake_data_path),
            lock_path=str(settings.lock_path),
            lock_timeout_s=settings.lock_timeout_s,
            memory_limit=settings.memory_limit,
        ),
        "domain": DomainResource(name=settings.domain),
        "landing": LandingResource(
            path=str(settings.landing_path),
            pseudonym_key=EnvVar("FRESHET_PSEUDONYM_KEY"),
            settle_seconds=settings.settle_seconds,
            nearline_max_bytes=settings.nearline_max_file_mb * 2**20,
        ),
        "artifacts": ArtifactResource(path=str(settings.artifacts_path)),
        "mirror": MirrorResource(
            kind=EnvVar("FRESHET_MIRROR"), path=str(settings.mirror_path), budget_mb=settings.mirror_mb
        ),
        "registry": RegistryResource(
            tracking_uri=EnvVar("FRESHET_MLFLOW_TRACKING_URI"), artifact_location=settings.mlflow_artifacts
        ),
        "encoder": EncoderResource(
            spec=settings.encoder,
            sha256=settings.encoder_sha256,
            device=settings.device,
            threads=settings.threads,
            revision=settings.code_revision or _git_revision(),
        ),
        "notifier": build_notifier(settings),
        "dbt": WarehouseDbt.of(warehouse_project(settings)),
    }


def _git_revision() -> str:
    """Commit of the checkout, empty outside of one."""
    try:
        finished = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return ""
    return finished.stdout.strip()
