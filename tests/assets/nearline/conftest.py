"""Fixtures of the nearline lane: the small market of `market.py`, and workers of it."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from assets.artifacts import ArtifactStore
from assets.batch_report import BatchReport
from assets.encoder_stages import ENCODER_KIND
from assets.lease import Lease
from models.item_text import render_item_text, text_hashes
from models.language_model import TextEncoder
from models.recommender_config import RecommenderConfig
from models.schema import ITEM_EMBEDDINGS
from orchestration import nearline_assembly
from orchestration.home import prepare_home
from orchestration.nearline_assembly import build_worker
from orchestration.nearline_metrics import NearlineMetrics
from orchestration.nearline_worker import NearlineWorker
from orchestration.settings import load_settings, write_home_file

from .market import DOMAIN, Market, land_history, train


class Run:
    """A worker of a market in a thread of this process."""

    def __init__(self, market: Market, lease: Lease | None = None, **options: Any) -> None:
        self.metrics = NearlineMetrics()
        self.reports: list[BatchReport] = []
        with pytest.MonkeyPatch.context() as patch:
            if lease is not None:
                patch.setattr(nearline_assembly, "nearline_lease", lambda lake: lease)
            self.worker: NearlineWorker = build_worker(
                market.settings, self.metrics, report=self.reports.append, **options
            )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.worker.run, args=(self._stop,))

    def __enter__(self) -> "Run":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture
def start_worker() -> type[Run]:
    """Starts a worker in a thread, on a lease of its own where one is given."""
    return Run


@pytest.fixture(scope="session")
def built_market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """The market, with a copy of its home folder to begin again from."""
    with building(tmp_path_factory.mktemp("nearline")) as market:
        shutil.copytree(market.settings.root, market.settings.root.with_name("pristine"))
        yield market


@pytest.fixture(scope="session")
def market_on(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], AbstractContextManager[Market]]:
    """Builds another such market on a given catalogue; it cannot begin again."""
    return lambda catalogue: building(tmp_path_factory.mktemp("nearline"), catalogue)


@contextmanager
def building(folder: Path, catalogue: str = "") -> Iterator[Market]:
    """Build the market in a folder."""
    domain = folder / "market.toml"
    domain.write_text(DOMAIN)
    home = folder / "home"
    write_home_file(home, {"domain": str(domain), "catalogue": catalogue})
    settings = load_settings(home=home, settle_seconds=0.0)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DAGSTER_HOME", "FRESHET_HOME", "FRESHET_LAKE_CATALOGUE", "FRESHET_LAKE_DATA_PATH"):
            patch.setenv(name, "")
        patch.setenv("FRESHET_PSEUDONYM_KEY", "")
        patch.setenv("FRESHET_MLFLOW_TRACKING_URI", "")
        prepare_home(settings)
        market = Market(settings)
        land_history(market)
        market.build()
        train(market)
        yield market


@pytest.fixture
def market(built_market: Market) -> Market:
    """The market at its beginning."""
    built_market.begin_again()
    return built_market


@pytest.fixture
def text_market(market: Market, tiny_encoder: Path) -> Iterator[Market]:
    """The market with texts: even items are red, odd ones blue; the last place of a list is for a cold item."""
    domain = Path(market.settings.domain)
    domain.write_text("cold_places = [5]\n" + DOMAIN)
    lake, store = market.lake, ArtifactStore(market.settings.artifacts_path)
    with store.scratch() as folder:
        shutil.copytree(tiny_encoder, folder, dirs_exist_ok=True)
        version = store.put(folder, ENCODER_KIND)
    titles = "if(item_id[2:]::INTEGER % 2 = 0, 'red lipstick for lips', 'blue shampoo for hair')"
    lake.write(lambda connection: connection.execute(f"UPDATE marts.items SET title = {titles}"), message="titles")
    items = lake.frame("SELECT * FROM marts.items ORDER BY item_id")
    texts = render_item_text(items)
    vectors = TextEncoder.load(store.path(ENCODER_KIND, version), max_tokens=48).encode(texts.tolist())
    rows = {"item_id": items["item_id"], "text_hash": text_hashes(texts), "encoder_version": version}
    lake.replace_table(ITEM_EMBEDDINGS, pd.DataFrame({**rows, "embedding": list(vectors)}))
    names = {"retrievers": ["popularity", "content"], "candidates_per_retriever": 10, "fusion": {"evaluations": 5}}
    train(market, RecommenderConfig.from_dict(names))
    yield market
    domain.write_text(DOMAIN)
