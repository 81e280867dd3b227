"""Cleaning up after a process that was killed. Only called while no other refresh of the home folder runs."""

from assets.artifacts import ArtifactStore
from assets.scratch import remove_dead_scratch
from assets.sqlite_catalogue import sqlite_file
from orchestration.home import open_lake
from orchestration.settings import Settings


def clean_up(settings: Settings) -> None:
    """Delete files that killed processes left behind; what was committed, or is in use, stays.

    With PostgreSQL as catalogue other hosts may be writing, so unknown data files are left to DuckLake's own
    maintenance there.
    """
    lake = open_lake(settings)
    remove_dead_scratch(lake.staging_path)
    ArtifactStore(settings.artifacts_path).clean_staging()
    if sqlite_file(settings.lake_catalogue) is not None:
        lake.remove_orphans()
