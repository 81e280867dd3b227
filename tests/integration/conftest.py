"""A small market that has gone through the whole lineage once, shared by the tests that look at its end."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest

from assets.lake import Lake
from assets.sources.demo.config import DemoConfig, DemoReport
from assets.sources.demo.generate import generate
from orchestration.home import open_lake
from orchestration.refresh import RefreshReport, refresh
from orchestration.settings import Settings, load_settings, write_home_file

FIRST_DAY = date(2026, 1, 1)
DAYS = 8
SMALL_DOMAIN = """
session_gap_minutes = 30
duplicate_window_seconds = 5
bot_events_per_day = 150
segment_by = "age_band"
top_k = 10
cold_share = 0.1
max_per_brand = 4
[event_weights]
view = 1.0
click = 1.0
cart = 2.0
purchase = 4.0
[pretraining]
steps = 3
head_steps = 1
[finetuning]
steps = 3
[recommender.sequence]
epochs = 2
"""


@dataclass(frozen=True)
class BuiltHome:
    """A home folder after its first refresh."""

    settings: Settings
    market: DemoReport
    first: RefreshReport

    @property
    def lake(self) -> Lake:
        """Its lake."""
        return open_lake(self.settings)


def market(days: int, days_from: int = 0) -> DemoConfig:
    """The market that the tests use."""
    return DemoConfig(users=120, items=100, days=days, first_day=FIRST_DAY, days_from=days_from)


@pytest.fixture(scope="session")
def built_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuiltHome]:
    """Everything built from an empty home folder; tests may add days to it, in the order of the file."""
    folder: Path = tmp_path_factory.mktemp("market")
    domain = folder / "market.toml"
    domain.write_text(SMALL_DOMAIN)
    last_day = FIRST_DAY + timedelta(days=DAYS + 3)
    home = folder / "home"
    write_home_file(home, {"domain": str(domain), "first_day": FIRST_DAY, "last_day": last_day})
    settings = load_settings(home=home, settle_seconds=0.0)
    with pytest.MonkeyPatch.context() as patch:
        # What the settings put into the environment must not reach other tests.
        for name in ("DAGSTER_HOME", "FRESHET_HOME", "FRESHET_LAKE_CATALOGUE", "FRESHET_LAKE_DATA_PATH"):
            patch.setenv(name, "")
        patch.setenv("FRESHET_PSEUDONYM_KEY", "")
        patch.setenv("FRESHET_MLFLOW_TRACKING_URI", "")
        report = generate(settings.landing_path, market(DAYS))
        yield BuiltHome(settings, report, refresh(settings))
