"""A dataset as the benchmarks read it: the marts of a Freshet home, or of one that is built from a raw source first."""

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from assets.dbt_project import build_arguments, child_environment, dbt_command
from assets.domain import Domain, load_domain
from assets.ingest import ingest_landing
from assets.ingestion import publish_domain
from assets.lake import Lake
from assets.landing_zone import LandingZone
from assets.sources import amazon_reviews, movielens, online_retail
from models.catalogue import Catalogue
from models.encoder_config import FinetuningConfig
from models.engagement_pairs import EngagementPairs, engagement_pairs
from models.errors import ConfigurationError, LakeError
from models.features import SplitTimes, in_order, split_times
from models.interactions import InteractionLog, to_seconds
from models.item_text import render_item_text
from models.splitting import Split, leave_one_out, split_by_time, split_by_time_last
from orchestration.home import open_lake, prepare_home, warehouse_project
from orchestration.settings import Settings, load_settings

LOADERS: dict[str, Any] = {
    "amazon-reviews": amazon_reviews.load,
    "movielens": movielens.load,
    "online-retail": online_retail.load,
}


@dataclass(frozen=True)
class LandedData:
    """What a benchmark needs of one dataset."""

    domain: Domain
    catalogue: Catalogue
    texts: list[str]
    """Text of each item, in the order of the catalogue."""
    log: InteractionLog
    times: SplitTimes

    def split(self, protocol: str) -> Split:
        """The split by time (all items of the window, or each user's last one), or the leave-one-out split."""
        if protocol == "leave-one-out":
            return leave_one_out(self.log, exclude_seen=self.domain.exclude_seen)
        if protocol == "temporal-last":
            return split_by_time_last(self.log, exclude_seen=self.domain.exclude_seen)
        validation_from, test_from = to_seconds(pd.Series([self.times.validation_from, self.times.test_from]))
        return split_by_time(
            self.log,
            validation_from=int(validation_from),
            test_from=int(test_from),
            exclude_seen=self.domain.exclude_seen,
        )

    def pairs(self, log: InteractionLog, config: FinetuningConfig) -> EngagementPairs:
        """Pairs of items with a text that a log tells are chosen after each other, drawn with the domain's seed."""
        return engagement_pairs(
            log,
            self.catalogue,
            np.random.default_rng(self.domain.seed),
            has_text=np.array([bool(text) for text in self.texts]),
            window=config.window,
            pairs_per_user=config.pairs_per_user,
        )


def open_home(home: Path) -> LandedData:
    """Read the marts of a home whose warehouse is built."""
    settings = load_settings(home=home)
    return _read(open_lake(settings), load_domain(settings.domain))


def build_home(source: str, data: Path, home: Path, tie_order: str, *, missing_times: str = "refuse") -> LandedData:
    """Land a raw source in a new home, ingest it and build its warehouse with the lineage's own functions.

    Args:
        source: Name of a packaged source, which is also its domain.
        data: Folder of the source's files.
        home: Where to.
        tie_order: For amazon-reviews: the source's order within a day.
        missing_times: For movielens: what becomes of rows without a time; `interpolate` keeps the known order, which is
            all that leave-one-out reads.

    Raises:
        ConfigurationError: the source is unknown.
        LakeError: files were rejected, or dbt failed.
    """
    if source not in LOADERS:
        raise ConfigurationError(f"unknown source {source!r}; choose from {', '.join(LOADERS)}")
    settings = load_settings(home=home, domain=source)
    prepare_home(settings)
    lake, domain = open_lake(settings), load_domain(source)
    own = {"amazon-reviews": {"tie_order": tie_order}, "movielens": {"missing_times": missing_times}}
    options = own.get(source, {})
    LOADERS[source](data, LandingZone(settings.landing_path), **options)
    publish_domain(lake, domain)
    key = settings.pseudonym_key.get_secret_value()
    report = ingest_landing(lake, settings.landing_path, domain, key, received_at=datetime.now(UTC), settle_seconds=0)
    if report.rejected:
        raise LakeError(f"files were rejected: {'; '.join(file.reason for file in report.rejected)}")
    _build_warehouse(settings, lake)
    return _read(lake, domain)


def _build_warehouse(settings: Settings, lake: Lake) -> None:
    project = warehouse_project(settings)
    with lake.lock():
        finished = subprocess.run(
            dbt_command(build_arguments(None)),
            env=child_environment(project, lake, project.target),
            cwd=project.home,
            capture_output=True,
            text=True,
            check=False,
        )
    if finished.returncode:
        raise LakeError(f"dbt build failed:\n{finished.stdout[-3000:]}")


def _read(lake: Lake, domain: Domain) -> LandedData:
    items = lake.frame("SELECT * FROM marts.items ORDER BY item_id")
    interactions = lake.frame(
        "SELECT event_id, user_id, item_id, event_at, weight, source_order FROM marts.interactions"
    )
    users = lake.frame("SELECT user_id, segment FROM marts.users WHERE segment IS NOT NULL")
    segments = dict(zip(users["user_id"], users["segment"], strict=True))
    catalogue = Catalogue.from_frame(items)
    texts = render_item_text(items.set_index("item_id").loc[catalogue.item_ids.tolist()].reset_index())
    return LandedData(
        domain=domain,
        catalogue=catalogue,
        texts=texts.tolist(),
        log=InteractionLog.from_frame(in_order(interactions), catalogue.item_ids, segments),
        times=split_times(interactions, validation_share=domain.validation_share, test_share=domain.test_share),
    )
