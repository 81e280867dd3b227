"""Artifacts as folders named by their content: model weights, indexes and reports."""

import hashlib
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from models.errors import DataError

_VERSION_LENGTH = 16


@dataclass(frozen=True)
class ArtifactStore:
    """Folders under `root/<kind>/<version>/`, written once and never changed."""

    root: Path

    def put(self, folder: Path, kind: str) -> str:
        """Copy a folder into the store and return its version, the hash of its content.

        The copy appears under its name in one rename, so a killed process leaves no half artifact; putting the
        same content again changes nothing.
        """
        version = content_version(folder)
        target = self.root / kind / version
        if target.exists():
            return version
        staging = self.root / ".staging" / uuid.uuid4().hex
        shutil.copytree(folder, staging)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(staging, target)  # noqa: PTH104  the one call that is atomic and refuses a filled target
        except OSError:
            shutil.rmtree(staging)
            if not target.exists():
                raise
        return version

    def path(self, kind: str, version: str) -> Path:
        """Folder of an artifact.

        Raises:
            DataError: the store has no such artifact.
        """
        folder = self.root / kind / version
        if not folder.is_dir():
            raise DataError(f"no {kind} artifact {version!r} under {self.root}; materialise its asset again")
        return folder

    def clean_staging(self) -> None:
        """Remove half copies that a killed process left; only while nobody else puts."""
        shutil.rmtree(self.root / ".staging", ignore_errors=True)


def content_version(folder: Path) -> str:
    """Hash over the names and bytes of all files of a folder, 16 hex characters."""
    digest = hashlib.sha256()
    for file in sorted(entry for entry in folder.rglob("*") if entry.is_file()):
        digest.update(str(file.relative_to(folder)).encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:_VERSION_LENGTH]
