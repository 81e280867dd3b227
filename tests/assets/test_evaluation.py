import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from assets.artifacts import ArtifactStore
from assets.builds import Recipe, recorded_build
from assets.champion import CHAMPION
from assets.domain import Domain
from assets.evaluation import (
    DECISION_FILE,
    REPORT,
    REPORT_KIND,
    choose_champion,
    log_report,
    make_report,
    report_metadata,
)
from assets.lake import Lake, append_frame
from assets.model_inputs import read_catalogue
from assets.recommender import CHALLENGER, EVALUATED, KIND, fit_challenger, split_of
from assets.resources import ArtifactResource, EncoderResource
from models.errors import DataError
from models.recommender import Recommender
from models.recommender_config import RecommenderConfig
from models.schema import MARTS, TRAINING_INTERACTIONS

ITEMS = [f"i{row}" for row in range(8)]
USERS = 30
DOMAIN = Domain(name="shop", event_weights={"view": 1.0})


def fill(lake: Lake) -> None:
    """Users walk through the items in one circle, so the next item is known; the last step is the test."""
    rows = []
    for user in range(USERS):
        for day in range(5):
            item = ITEMS[(user + day) % len(ITEMS)]
            split = {3: "validation", 4: "test"}.get(day, "train")
            at = pd.Timestamp("2026-01-01") + pd.Timedelta(days=day, minutes=user)
            rows.append((f"e{user}-{day}", f"u{user:02d}", item, at, 1.0, day, split))
    interactions = pd.DataFrame(rows, columns=TRAINING_INTERACTIONS.column_names)
    items = pd.DataFrame({"item_id": ITEMS, "count_interactions": 1})
    tables = {table.name: table for table in MARTS}

    def write(connection) -> None:
        connection.execute("CREATE SCHEMA marts")
        for table in tables.values():
            columns = ", ".join(f'"{column.name}" {column.type}' for column in table.columns)
            connection.execute(f"CREATE TABLE {table.qualified_name} ({columns})")
        append_frame(connection, tables["items"], items.reindex(columns=tables["items"].column_names))
        append_frame(connection, TRAINING_INTERACTIONS, interactions)

    lake.write(write, message="test data")


def record(lake: Lake, asset: str, version: str) -> None:
    with recorded_build(lake, DOMAIN, asset, Recipe("1")) as build:
        build.version = version


def store_challenger(lake: Lake, store: ArtifactStore, folder: Path, retrievers: tuple[str, ...]) -> str:
    """Fit before the test window, as the asset does, and record it as the challenger."""
    catalogue = read_catalogue(lake)
    split = split_of(lake, catalogue, exclude_seen=True)
    config = RecommenderConfig(retrievers=retrievers)
    weighed = Recommender.fit(split.train, split.validation, catalogue, config, seed=0)
    weighed.refit(split.refit, catalogue, seed=0).save(folder / EVALUATED)
    version = store.put(folder, KIND)
    record(lake, CHALLENGER, version)
    return version


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactResource:
    return ArtifactResource(path=str(tmp_path / "artifacts"))


@pytest.fixture
def encoder() -> EncoderResource:
    return EncoderResource()


@pytest.fixture
def filled(lake: Lake) -> Lake:
    fill(lake)
    return lake


def test_what_is_evaluated_knows_all_days_before_the_test_and_none_of_it(filled: Lake, tmp_path: Path) -> None:
    domain = replace(DOMAIN, recommender={"retrievers": ["popularity", "co_occurrence"]})
    fitted = fit_challenger(filled, domain, tmp_path)
    days = [int(one.item_counts.sum()) / USERS for one in (fitted.weighed, fitted.evaluated, fitted.production)]
    assert days == [3, 4, 5]
    assert fitted.evaluated.weights == fitted.production.weights == fitted.weighed.weights


def test_report_accepts_a_first_model_that_beats_popularity(
    filled: Lake, artifacts: ArtifactResource, encoder: EncoderResource, tmp_path: Path
) -> None:
    version = store_challenger(filled, artifacts.store, tmp_path / "first", ("popularity", "co_occurrence"))
    report = make_report(filled, DOMAIN, artifacts, encoder)
    assert report.decision.accepted
    assert report.assessment.challenger.users == USERS
    folder = artifacts.store.path(REPORT_KIND, report.version)
    assert json.loads((folder / DECISION_FILE).read_text())["challenger"] == version
    metadata = report_metadata(report, folder)
    assert metadata["figure_models"].value.startswith("![models](data:image/png;base64,iVBOR")
    assert metadata["ndcg_at_10"] == report.assessment.challenger.metrics["ndcg@10"].value
    assert make_report(filled, DOMAIN, artifacts, encoder).version == report.version


def test_a_second_model_is_compared_with_the_champion(
    filled: Lake, artifacts: ArtifactResource, encoder: EncoderResource, tmp_path: Path
) -> None:
    champion = store_challenger(filled, artifacts.store, tmp_path / "first", ("popularity", "co_occurrence"))
    record(filled, CHAMPION, champion)
    store_challenger(filled, artifacts.store, tmp_path / "second", ("popularity",))
    report = make_report(filled, DOMAIN, artifacts, encoder)
    assert not report.decision.accepted  # popularity alone is not above popularity
    record(filled, REPORT, report.version)
    outcome = choose_champion(filled, artifacts.store)
    assert (outcome.version, outcome.is_promoted) == (champion, False)


def decided(lake: Lake, store: ArtifactStore, folder: Path, *, accepted: bool) -> None:
    folder.mkdir()
    (folder / DECISION_FILE).write_text(
        json.dumps({"challenger": "new", "accepted": accepted, "reasons": ["Because."]})
    )
    record(lake, REPORT, store.put(folder, REPORT_KIND))


def test_an_accepted_challenger_serves(lake: Lake, artifacts: ArtifactResource, tmp_path: Path) -> None:
    decided(lake, artifacts.store, tmp_path / "report", accepted=True)
    outcome = choose_champion(lake, artifacts.store)
    assert (outcome.version, outcome.is_promoted, outcome.reasons) == ("new", True, ["Because."])


def test_a_refused_first_model_stops_the_line(lake: Lake, artifacts: ArtifactResource, tmp_path: Path) -> None:
    decided(lake, artifacts.store, tmp_path / "report", accepted=False)
    with pytest.raises(DataError, match=r"refused the first recommender.*Because\."):
        choose_champion(lake, artifacts.store)


@pytest.mark.slow
def test_the_report_is_logged_to_mlflow(
    filled: Lake, artifacts: ArtifactResource, encoder: EncoderResource, tmp_path: Path
) -> None:
    from models.registry import Registry

    store_challenger(filled, artifacts.store, tmp_path / "first", ("popularity", "co_occurrence"))
    report = make_report(filled, DOMAIN, artifacts, encoder)
    registry = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", (tmp_path / "runs").as_uri())
    log_report(registry, report, artifacts.store.path(REPORT_KIND, report.version), {"snapshot": 3})
    experiment = registry.client.get_experiment_by_name("freshet-evaluation")
    run = registry.client.search_runs([experiment.experiment_id])[0]
    assert run.data.metrics["ndcg_at_10"] == pytest.approx(report.assessment.challenger.metrics["ndcg@10"].value)
    assert {entry.path for entry in registry.client.list_artifacts(run.info.run_id)} >= {"report.md", "figures"}
    assert np.isfinite(list(run.data.metrics.values())).all()
