"""Home folders with rules of a few lines, for tests that refresh many of them."""

import os
import shutil
from datetime import date
from pathlib import Path

from orchestration.home import prepare_home
from orchestration.settings import Settings, load_settings

RULES = """
top_k = 5
cold_share = 0.2
[event_weights]
view = 1.0
purchase = 4.0
"""
UNTRAINED = """
[pretraining]
steps = 0
head_steps = 0
[finetuning]
steps = 0
[recommender]
retrievers = ["popularity", "co_occurrence", "content"]
"""


class Homes:
    """Makes home folders that are ready to be refreshed."""

    def __init__(self, folder: Path, encoder: Path) -> None:
        self._folder, self._encoder = folder, encoder
        self._parsed: Path | None = None

    def make(self, name: str, domain: str = RULES + UNTRAINED, **overrides: object) -> Settings:
        """Settings of a new home folder."""
        home, rules = self._folder / name, self._folder / f"{name}.toml"
        home.mkdir()
        rules.write_text(domain)
        settings = load_settings(
            **{
                "home": home,
                "domain": str(rules),
                "encoder": str(self._encoder),
                "mlflow_tracking_uri": f"sqlite:///{self._folder / 'mlflow.db'}",
                "pseudonym_key": "a key for tests",
                "settle_seconds": 0.0,
                "lock_timeout_s": 20.0,
                "first_day": date(2026, 1, 1),
                "last_day": date(2026, 1, 31),
                **overrides,
            }
        )
        if self._parsed is None:
            prepare_home(settings)
            self._parsed = shutil.copytree(home / "dbt", self._folder / "dbt")
        else:
            shutil.copytree(self._parsed, home / "dbt", copy_function=os.link)
        return settings


def land(settings: Settings, kind: str, text: str, name: str = "first.csv") -> None:
    """Put a file into the landing zone."""
    folder = settings.landing_path / kind
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
