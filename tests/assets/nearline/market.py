"""A small market that the batch lane has built: 20 users, 20 items, three days, a champion, an index and lists."""

import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from assets.artifacts import ArtifactStore
from assets.builds import Recipe, recorded_build
from assets.champion import CHAMPION, load_champion
from assets.domain import load_domain
from assets.features import histories_of
from assets.index import INDEX
from assets.index import KIND as INDEX_KIND
from assets.ingest import ingest_landing
from assets.ingestion import publish_domain
from assets.lake import BOOKKEEPING, Lake, append_frame
from assets.lease import Lease
from assets.model_inputs import read_catalogue, read_log
from assets.pending_days import pending_days
from assets.pseudonyms import pseudonymise
from assets.recommender import KIND, PRODUCTION
from assets.resources import ArtifactResource
from assets.serving import TOP_K, Server, publish_lists
from assets.source_positions import read_progress
from assets.streams.contract import Delivery
from assets.streams.landing import LandingSource
from assets.warehouse_sql import EVENT_COLUMNS, InteractionRules
from models.features import in_order
from models.recommender import Recommender
from models.recommender_config import RecommenderConfig
from models.schema import MARTS, TRAINING_INTERACTIONS, USER_HISTORIES
from models.splitting import Holdout, Targets
from orchestration.home import open_lake, warehouse_project
from orchestration.settings import Settings

DOMAIN = """
top_k = 5
duplicate_window_seconds = 5
bot_events_per_day = 30
segment_by = "region"
max_per_brand = 3
[event_weights]
view = 1.0
purchase = 4.0
cancel = 0.0
hide = -1.0
"""
AS_OF = datetime(2026, 1, 4)
NOW = datetime(2026, 1, 8, 12)
KEY = "freshet-demo-key"
MARTS_BY_NAME = {table.name: table for table in MARTS}
CONFIG = RecommenderConfig.from_dict(
    {
        "retrievers": ["popularity", "co_occurrence", "als"],
        "candidates_per_retriever": 10,
        "als": {"embedding_size": 4},
        "fusion": {"evaluations": 5},
    }
)


@dataclass(frozen=True)
class Market:
    """A home folder as the batch lane left it."""

    settings: Settings

    @property
    def lake(self) -> Lake:
        return open_lake(self.settings)

    def land(self, name: str, rows: list[str]) -> Path:
        """Put a file of events `user,item,type,time,value` into the landing zone, whole at once."""
        file = self.settings.landing_path / "events" / name
        unfinished = file.with_name(f".{name}")
        unfinished.write_text("\n".join(["user_id,item_id,event_type,event_at,value", *rows, ""]))
        return unfinished.replace(file)

    def build(self) -> None:
        """What ingestion, the warehouse and the features do."""
        _build(self)

    def publish(self, server: Server | None = None, as_of: datetime = AS_OF) -> None:
        """What the asset `top_k` does for all users, with the present champion or a given server."""
        _publish(self, server, as_of)

    def promote(self) -> str:
        """A champion of another size with its index, and lists of all users; returns its version."""
        return train(self, replace(CONFIG, als=replace(CONFIG.als, embedding_size=6)))

    def delivery(self, name: str, rows: list[str]) -> Delivery:
        """A landed file as the nearline lane gets it."""
        self.land(name, rows)
        source = self.source()
        delivery = source.poll(1000, 0)
        assert delivery is not None
        return delivery

    def source(self) -> LandingSource:
        """The landing zone as a source."""
        source = LandingSource(
            self.lake, self.settings.landing_path, settle_seconds=-1e9, max_bytes=10**7, clock=lambda: NOW
        )
        source.resume({})
        return source

    def lists(self) -> dict[str, str]:
        """All lists as text, by user."""
        frame = self.lake.frame("SELECT user_id, items::VARCHAR AS items FROM serving.top_k")
        assert frame["user_id"].is_unique
        return dict(zip(frame["user_id"], frame["items"], strict=True))

    def item_ids(self, user: str) -> set[str]:
        """Items in the list of a user of the source."""
        sql = "SELECT item_id FROM serving.top_k_items WHERE user_id = ?"
        return set(self.lake.frame(sql, [pseudonymise(user, KEY)])["item_id"])

    def wait_until(self, is_so: Callable[[], bool], seconds: float = 400) -> None:
        """Wait for what another thread or process does."""
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.02)

    def begin_again(self) -> None:
        """Put everything back to where it was; DuckLake knows its data by an absolute path, so never elsewhere."""
        shutil.rmtree(self.settings.root)
        shutil.copytree(self.settings.root.with_name("pristine"), self.settings.root)

    def tables(self) -> dict[str, str]:
        """Content of every table that a batch writes, without what says when it was written."""
        own = {"raw.events": (), "quarantine.rows": (), "ops.files": (), "serving.top_k": ("input_snapshot",)}
        found = {name: self.lake.fingerprint(name, exclude=(*BOOKKEEPING, *excluded)) for name, excluded in own.items()}
        return {**found, "ops.pending_days": str(pending_days(self.lake)), "ops.nearline_positions": self._progress()}

    def _progress(self) -> str:
        """How far every stream was read, in whatever terms of leaders."""
        with self.lake.connect() as connection:
            sources = connection.execute("SELECT DISTINCT source FROM ops.nearline_positions ORDER BY 1").fetchall()
            progress = [read_progress(connection, source) for (source,) in sources]
        return str([{name: replace(part, epoch=0) for name, part in sorted(parts.items())} for parts in progress])


def move_leader(lease: Lease) -> None:
    """Put the leader on another machine, as the lease tells it: nobody here can see whether it lives."""
    with closing(sqlite3.connect(lease.file)) as connection, connection:
        connection.execute("UPDATE lease SET holder = 'elsewhere:' || substr(holder, instr(holder, ':') + 1)")


def land_history(market: Market) -> None:
    """User u views every second item, two a day; users 0 to 4 have a region, user 20 has nothing but a region."""
    for day in (1, 2, 3):
        rows = []
        for user in range(20):
            for turn in range(2):
                item = (user + 4 * day + 2 * turn) % 20
                rows.append(f"u{user:02d},i{item:02d},view,2026-01-{day:02d}T{10 + turn}:00:{user:02d}Z,")
        market.land(f"day{day}.csv", rows)
    users = market.settings.landing_path / "users" / "users.csv"
    users.write_text("user_id,region\n" + "".join(f"u{user:02d},north\n" for user in (0, 1, 2, 3, 4, 20)))


def _build(market: Market) -> None:
    """What the warehouse and the features do."""
    lake, settings = market.lake, market.settings
    domain = load_domain(settings.domain)
    publish_domain(lake, domain)
    moment = datetime(2026, 1, 9, tzinfo=UTC)
    ingest_landing(lake, settings.landing_path, domain, KEY, received_at=moment, settle_seconds=-1e9)
    rules = InteractionRules.load(warehouse_project(settings), lake)
    rows = rules.interactions(lake.frame(f"SELECT {', '.join(EVENT_COLUMNS)} FROM raw.events"))
    interactions = rows[rows["weight"] > 0]
    attributes = lake.frame("SELECT user_id, region FROM raw.users")
    users = pd.DataFrame({"user_id": sorted({*interactions["user_id"], *attributes["user_id"]})})
    users["region"] = users["user_id"].map(attributes.set_index("user_id")["region"])
    counts = users["user_id"].map(interactions["user_id"].value_counts()).fillna(0).astype(int)
    items = pd.DataFrame(
        {"item_id": [f"i{n:02d}" for n in range(20)], "brand_or_author": [f"b{n % 5}" for n in range(20)]}
    )
    frames = {
        "interactions": interactions.assign(event_type="view", session_id="s"),
        "hides": rows[rows["weight"] < 0].assign(event_type="hide"),
        "users": users.assign(segment=users["region"], count_interactions=counts),
        "items": items.assign(title=items["item_id"], category="all", count_interactions=1),
    }

    def write(connection) -> None:
        connection.execute("CREATE SCHEMA IF NOT EXISTS marts")
        for name, frame in frames.items():
            table = MARTS_BY_NAME[name]
            columns = ", ".join(f'"{column.name}" {column.type}' for column in table.columns)
            connection.execute(f"CREATE OR REPLACE TABLE {table.qualified_name} ({columns})")
            append_frame(connection, table, frame.reindex(columns=table.column_names))
        connection.execute("DELETE FROM ops.pending_days")

    lake.write(write, message="marts")
    ordered = in_order(interactions).assign(split="train")
    lake.replace_table(TRAINING_INTERACTIONS, ordered[TRAINING_INTERACTIONS.column_names])
    lake.replace_table(USER_HISTORIES, histories_of(lake))


def train(market: Market, config: RecommenderConfig = CONFIG) -> str:
    """A champion with its index, and lists of all users; returns the champion's version."""
    lake, settings = market.lake, market.settings
    catalogue = read_catalogue(lake)
    log = read_log(lake, catalogue)
    nobody = Holdout(
        log, np.zeros(0, dtype=np.int32), Targets(np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32))
    )
    model = Recommender.fit(log, nobody, catalogue, config, seed=0)
    store = ArtifactStore(settings.artifacts_path)
    with store.scratch() as folder:
        model.save(folder / PRODUCTION)
        version = store.put(folder, KIND)
    _record(lake, CHAMPION, version)
    index = load_champion(lake, store).build_index(seed=0, model_version=version)
    with store.scratch() as folder:
        index.save(folder)
        _record(lake, INDEX, store.put(folder, INDEX_KIND))
    market.publish()
    return version


def _publish(market: Market, server: Server | None, as_of: datetime) -> None:
    lake, domain = market.lake, load_domain(market.settings.domain)
    used = server or Server.load(lake, domain, ArtifactResource(path=str(market.settings.artifacts_path)))
    with recorded_build(lake, domain, TOP_K, Recipe("1")) as record:
        record.snapshot = publish_lists(lake, used, as_of=as_of, lane="batch")


def _record(lake: Lake, asset: str, version: str) -> None:
    with recorded_build(lake, load_domain("shop"), asset, Recipe("1")) as record:
        record.version = version
