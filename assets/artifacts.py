"""Artifacts as folders named by their content: model weights, indexes and reports."""

import hashlib
import os
import shutil
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from assets.scratch import remove_dead_scratch, scratch_folder
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
        self.put_as(folder, kind, version)
        return version

    def put_as(self, folder: Path, kind: str, version: str) -> None:
        """Copy a folder into the store under a name that says all that its content follows from, as `put` does."""
        target = self.root / kind / version
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with self.scratch() as staging:
            shutil.copytree(folder, staging / version)
            (staging / version).touch()
            try:
                # The one call that is atomic and refuses a target that is there already.
                os.rename(staging / version, target)  # noqa: PTH104
            except OSError:
                if not target.exists():
                    raise

    def keep_newest(self, kind: str, count: int) -> None:
        """Remove all but the newest artifacts of a kind that can be made again; whoever reads one then starts anew."""
        entries = [(entry.stat().st_mtime, entry) for entry in (self.root / kind).iterdir()]
        for _, old in sorted(entries, reverse=True)[count:]:
            with self.scratch() as staging, suppress(FileNotFoundError):
                old.rename(staging / old.name)

    def scratch(self) -> AbstractContextManager[Path]:
        """An empty folder on the same disk, removed at the end."""
        return scratch_folder(self.root / ".staging")

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
        """Remove half copies that killed processes left."""
        remove_dead_scratch(self.root / ".staging")


def content_version(folder: Path) -> str:
    """Hash over the names and bytes of all files of a folder, 16 hex characters."""
    digest = hashlib.sha256()
    for file in sorted(entry for entry in folder.rglob("*") if entry.is_file()):
        digest.update(str(file.relative_to(folder)).encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:_VERSION_LENGTH]
