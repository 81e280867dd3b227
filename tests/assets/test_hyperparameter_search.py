"""The search over a small lake: trials in MLflow, a fragment that a domain takes, and a kill in the middle."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest

from assets.domain import Domain
from assets.hyperparameter_search import EXPERIMENT, SearchConfig, SearchReport, search_domain, search_metadata
from assets.lake import Lake, append_frame
from models.errors import ConfigurationError
from models.recommender_config import RecommenderConfig
from models.registry import Registry
from models.schema import MARTS, TRAINING_INTERACTIONS
from models.search_space import with_values

ITEMS = [f"i{row}" for row in range(8)]
DOMAIN = Domain(name="shop", event_weights={"view": 1.0}, recommender={"retrievers": ["popularity", "ease"]})


def fill(lake: Lake) -> None:
    """Thirty users walk through the items in one circle: the fourth step is validation, the fifth test."""
    rows = []
    for user in range(30):
        for day, split in enumerate(("train", "train", "train", "validation", "test")):
            at = pd.Timestamp("2026-01-01") + pd.Timedelta(days=day, minutes=user)
            rows.append((f"e{user}-{day}", f"u{user:02d}", ITEMS[(user + day) % 8], at, 1.0, day, split))
    interactions = pd.DataFrame(rows, columns=TRAINING_INTERACTIONS.column_names)
    tables = {table.name: table for table in MARTS}

    def write(connection) -> None:
        connection.execute("CREATE SCHEMA marts")
        for table in tables.values():
            columns = ", ".join(f'"{column.name}" {column.type}' for column in table.columns)
            connection.execute(f"CREATE TABLE {table.qualified_name} ({columns})")
        items = pd.DataFrame({"item_id": ITEMS, "count_interactions": 1})
        append_frame(connection, tables["items"], items.reindex(columns=tables["items"].column_names))
        append_frame(connection, TRAINING_INTERACTIONS, interactions)

    lake.write(write, message="test data")


def open_registry(folder: Path) -> Registry:
    return Registry(f"sqlite:///{folder}/mlflow.db", str(folder / "runs"))


def run(lake: Lake, folder: Path, trials: int = 3, **options: object) -> SearchReport:
    return search_domain(lake, DOMAIN, open_registry(folder), SearchConfig(trials=trials, **options), folder / "search")


def runs_of(folder: Path) -> list:
    client = open_registry(folder).client
    return client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])


def test_every_trial_is_a_run_below_that_of_the_search(lake: Lake, tmp_path: Path) -> None:
    fill(lake)
    report = run(lake, tmp_path)
    runs = {one.info.run_name: one for one in runs_of(tmp_path)}
    assert set(runs) == {"search fusion", "trial 1", "trial 2", "trial 3"}
    parent = runs["search fusion"]
    for trial in report.result.trials:
        stored = runs[f"trial {trial.number}"]
        assert stored.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert stored.data.metrics["validation_ndcg"] == pytest.approx(trial.value)
        assert stored.data.params["ease.regularization"] == str(trial.settings["ease.regularization"])
    assert parent.data.metrics["best_validation_ndcg"] == pytest.approx(report.result.best.value)


def test_the_fragment_sets_the_best_values_in_a_domain(lake: Lake, tmp_path: Path) -> None:
    fill(lake)
    report = run(lake, tmp_path, target="ease")
    found = tomllib.loads(report.file.read_text())["recommender"]
    assert set(found) == {"ease"}
    base = RecommenderConfig.from_dict(DOMAIN.recommender)
    assert RecommenderConfig.from_dict({**DOMAIN.recommender, **found}) == with_values(
        base, report.result.best.settings
    )
    metadata = search_metadata(report)
    assert metadata["trials"] == 3
    assert metadata["validation_ndcg"] >= metadata["validation_ndcg_in_force"]


def test_the_test_window_is_not_read(lake: Lake, tmp_path: Path) -> None:
    """With other interactions in the test window a trial is worth the same."""
    fill(lake)
    before = run(lake, tmp_path / "before").result
    lake.write(
        lambda connection: connection.execute(
            "UPDATE features.training_interactions SET item_id = 'i0' WHERE split = 'test'"
        ).fetchall(),
        message="another future",
    )
    after = run(lake, tmp_path / "after").result
    assert [trial.value for trial in after.trials] == [trial.value for trial in before.trials]


def test_new_data_begins_a_new_study(lake: Lake, tmp_path: Path) -> None:
    fill(lake)
    run(lake, tmp_path, trials=2)
    lake.write(
        lambda connection: connection.execute(
            "UPDATE features.training_interactions SET item_id = 'i3' WHERE user_id = 'u05' AND split = 'train'"
        ).fetchall(),
        message="changed",
    )
    run(lake, tmp_path, trials=2)
    assert len(list((tmp_path / "search").glob("*.journal"))) == 2


def test_a_killed_trial_leaves_no_open_run_after_a_rerun(lake: Lake, tmp_path: Path) -> None:
    fill(lake)
    script = (
        "import os, sys; sys.path[:0] = sys.argv[1:3]\n"
        "from pathlib import Path\n"
        "import models.search_objective as objective\n"
        "import test_hyperparameter_search as t\n"
        "measure, calls = objective.validation_ndcg, []\n"
        "def until_killed(*arguments, **options):\n"
        "    calls.append(1)\n"
        "    return os._exit(9) if len(calls) == 2 else measure(*arguments, **options)\n"
        "objective.validation_ndcg = until_killed\n"
        "folder = Path(sys.argv[3])\n"
        "lake = t.Lake(f'sqlite:{folder}/lake/catalogue.sqlite', folder / 'lake/data', folder / 'lake/write.lock')\n"
        "t.run(lake, folder)\n"
    )
    here = Path(__file__)
    words = [sys.executable, "-c", script, str(here.parents[2]), str(here.parent), str(tmp_path)]
    assert subprocess.run(words, check=False).returncode == 9
    assert sorted(one.info.status for one in runs_of(tmp_path)) == ["FINISHED", "RUNNING", "RUNNING"]
    report = run(lake, tmp_path)
    assert len(report.result.trials) == 3
    statuses = [one.info.status for one in runs_of(tmp_path)]
    assert statuses.count("RUNNING") == 0
    assert statuses.count("KILLED") == 2  # the search and its second trial
    assert statuses.count("FINISHED") == 4  # the first trial, then the rest below a search of their own


def test_a_target_that_is_not_configured_is_refused(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'als' must be fusion or one of popularity, ease"):
        run(lake, tmp_path, target="als")
