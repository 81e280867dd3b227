"""Fixtures that more than one folder of tests needs."""

import os
from pathlib import Path

import pytest

from assets.lake import Lake

_ROOT = Path(__file__).parents[1]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake with all tables of `models.schema`."""
    folder = tmp_path / "lake"
    made = Lake(f"sqlite:{folder / 'catalogue.sqlite'}", folder / "data", folder / "write.lock", lock_timeout_s=5)
    made.create_tables()
    return made


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the public datasets, which the project may not contain."""
    folder = Path(os.environ.get("FRESHET_TEST_DATA", _ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no datasets under {folder}; set FRESHET_TEST_DATA")
    return folder
