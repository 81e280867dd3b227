"""One small market per domain, generated once and read back from its landing files."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from assets.sources.demo.catalogue import Catalogue, build_catalogue
from assets.sources.demo.config import NO_DIRT, DemoConfig, DemoDomain
from assets.sources.demo.generate import generate
from assets.sources.demo.vocabulary import load_vocabulary


@dataclass(frozen=True)
class GeneratedMarket:
    config: DemoConfig
    catalogue: Catalogue
    events: pd.DataFrame
    items: pd.DataFrame
    users: pd.DataFrame

    @property
    def views(self) -> pd.DataFrame:
        """Views in order of user and time, with `day` and the user's `previous` item."""
        views = self.events[self.events.event_type == "view"].sort_values(["user_id", "event_at"], kind="stable")
        return views.assign(day=views.event_at.str[:10], previous=views.groupby("user_id").item_id.shift())


def rows_of(path: Path) -> list[dict[str, str]]:
    """Rows of one landing file; an absent cell is an empty text."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    text = content.decode()
    if ".jsonl" in path.suffixes:
        return [json.loads(line) for line in text.splitlines()]
    return list(csv.DictReader(io.StringIO(text)))


def frame_of(folder: Path) -> pd.DataFrame:
    """All rows of one kind, with the name of their file."""
    rows = [{**row, "file": path.name[:10]} for path in sorted(folder.iterdir()) for row in rows_of(path)]
    return pd.DataFrame(rows).fillna("")


@pytest.fixture(scope="session")
def demo_market(tmp_path_factory: pytest.TempPathFactory) -> Callable[[DemoDomain], GeneratedMarket]:
    made: dict[str, GeneratedMarket] = {}

    def make(domain: DemoDomain) -> GeneratedMarket:
        if domain not in made:
            landing = tmp_path_factory.mktemp(domain)
            config = DemoConfig(domain=domain, users=700, items=900, days=24, dirt=NO_DIRT)
            generate(landing, config)
            catalogue = build_catalogue(config, load_vocabulary(domain))
            kinds = [frame_of(landing / kind) for kind in ("events", "items", "users")]
            made[domain] = GeneratedMarket(config, catalogue, *kinds)
        return made[domain]

    return make


@pytest.fixture(scope="session")
def read_landing() -> Callable[[Path], pd.DataFrame]:
    return frame_of
