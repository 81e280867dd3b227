import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.assessment import Assessment, assess, report_markdown, write_report
from models.catalogue import Catalogue
from models.errors import DataError
from models.interactions import InteractionLog
from models.recommender import Recommender
from models.recommender_config import RecommenderConfig
from models.reranking import RerankRules
from models.splitting import Split, split_by_time

BLOCKS, PER_BLOCK, USERS = 4, 6, 40
DAY = 86_400
ITEMS = [f"i{row:02d}" for row in range(BLOCKS * PER_BLOCK)]
GOOD = np.repeat(np.eye(BLOCKS, dtype=np.float32), PER_BLOCK, axis=0)
"""Text vectors that say to which block an item belongs."""


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    categories = np.repeat([f"block{b}" for b in range(BLOCKS)], PER_BLOCK)
    return Catalogue.from_frame(pd.DataFrame({"item_id": ITEMS, "category": categories}), GOOD)


@pytest.fixture(scope="module")
def split() -> Split:
    """Each user stays in one block: four items in train, one in validation, the last one in test."""
    rng = np.random.default_rng(5)
    rows = []
    for user in range(USERS):
        block = user % BLOCKS
        for day, item in enumerate(rng.permutation(PER_BLOCK)):
            rows.append((f"u{user:02d}", ITEMS[block * PER_BLOCK + item], day))
    rows.append(("u99", ITEMS[0], 5))
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "day"])
    frame["event_at"] = pd.to_datetime(frame["day"], unit="D")
    log = InteractionLog.from_frame(frame.assign(weight=1.0), ITEMS)
    return split_by_time(log, validation_from=4 * DAY, test_from=5 * DAY)


@pytest.fixture(scope="module")
def recommender(split: Split, catalogue: Catalogue) -> Recommender:
    config = RecommenderConfig(retrievers=("popularity", "content"))
    return Recommender.fit(split.train, split.validation, catalogue, config, seed=0)


@pytest.fixture(scope="module")
def assessment(split: Split, recommender: Recommender) -> Assessment:
    noise = np.random.default_rng(1).normal(size=(len(ITEMS), 8))
    raw = (noise / np.linalg.norm(noise, axis=1, keepdims=True)).astype(np.float32)
    stages = {"raw": raw, "finetuned": GOOD}
    champion = Recommender.fit(
        split.train, split.validation, recommender.catalogue, RecommenderConfig(retrievers=("popularity",)), seed=0
    )
    return assess(recommender, split, RerankRules(), seed=0, champion=champion, stages=stages, bootstrap=50)


def test_the_planted_item_is_found(assessment: Assessment) -> None:
    # One unseen item of the user's block is left, so content puts it first for everyone.
    assert assessment.challenger.metrics["recall@5"].value == 1.0
    assert assessment.results["content"].metrics["mrr@5"].value == 1.0
    assert assessment.popularity.metrics["mrr@5"].value < 0.6
    assert assessment.champion is not None
    assert assessment.champion.metrics["ndcg@10"].value == assessment.popularity.metrics["ndcg@10"].value
    assert assessment.new_users.user_ids.tolist() == ["u99"]


def test_report_names_winner_and_stages(assessment: Assessment) -> None:
    text = report_markdown(assessment, "Challenger **accepted**.", seed=0, bootstrap=50)
    assert "Challenger **accepted**." in text
    assert "The stage finetuned helps" in text
    assert "40 users with a history and 1 without" in text


def test_written_report_is_whole_and_repeatable(assessment: Assessment, catalogue: Catalogue, tmp_path: Path) -> None:
    curves = {"loss": [(1.0, 2.0), (2.0, 1.0)]}
    figures = write_report(tmp_path / "one", assessment, catalogue, "text", seed=0, curves=curves)
    write_report(tmp_path / "two", assessment, catalogue, "text", seed=0, curves=curves)
    names = ["models.png", "slices.png", "encoder_stages.png", "item_embeddings.png", "training.png"]
    assert [path.name for path in figures] == names
    first, second = tmp_path / "one", tmp_path / "two"
    files = [path.relative_to(first) for path in first.rglob("*") if path.is_file()]
    assert all((first / file).read_bytes() == (second / file).read_bytes() for file in files)
    facts = json.loads((tmp_path / "one" / "evaluation.json").read_text())
    assert facts["results"]["challenger"]["metrics"]["recall@5"]["value"] == 1.0


def test_a_model_that_saw_the_test_window_is_refused(split: Split, catalogue: Catalogue) -> None:
    config = RecommenderConfig(retrievers=("popularity",))
    everything = InteractionLog(
        split.train.user_ids,
        split.train.segments,
        split.train.start * 2,
        np.repeat(split.train.item_rows, 2),
        np.repeat(split.train.event_ats, 2),
        np.repeat(split.train.weights, 2),
        split.train.item_count,
    )
    leaked = Recommender.fit(everything, split.validation, catalogue, config, seed=0)
    with pytest.raises(DataError, match="only 200 were known before"):
        assess(leaked, split, RerankRules(), seed=0)


def test_a_sample_of_the_users_is_judged_by_all_alike(
    split: Split, recommender: Recommender, catalogue: Catalogue
) -> None:
    few = assess(recommender, split, RerankRules(), seed=3, most_users=5)
    assert {result.users for result in few.results.values()} == {5}
    assert few.new_users.users <= 5
    again = assess(recommender, split, RerankRules(), seed=3, most_users=5)
    assert few.flat_metrics() == again.flat_metrics()
    everyone = assess(recommender, split, RerankRules(), seed=3, most_users=10_000)
    assert everyone.challenger.users == split.test.count > 5


def test_metrics_for_plots_are_defined(assessment: Assessment) -> None:
    flat = assessment.flat_metrics()
    assert flat["recall@5"] == 1.0
    assert not np.isnan(list(flat.values())).any()
