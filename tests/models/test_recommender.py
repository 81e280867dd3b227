from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.errors import ConfigurationError, DataError, NotFittedError
from models.interactions import InteractionLog
from models.rankers import ReciprocalRankRanker
from models.recommender import Recommender
from models.recommender_config import RecommenderConfig
from models.splitting import Holdout, Targets, leave_one_out

Market = tuple[Catalogue, InteractionLog]
CONFIG = RecommenderConfig.from_dict(
    {
        "retrievers": ["popularity", "co_occurrence", "content", "als", "ease"],
        "candidates_per_retriever": 10,
        "als": {"embedding_size": 4},
        "ease": {"regularization": 1.0},
        "fusion": {"evaluations": 30},
    }
)


def planted_holdout(log: InteractionLog) -> Holdout:
    """What the checkerboard plants: user u takes item u next."""
    users = np.arange(20, dtype=np.int32)
    return Holdout(log, users, Targets(np.arange(21), users))


@pytest.fixture
def fitted(checkerboard: Market) -> Recommender:
    catalogue, log = checkerboard
    return Recommender.fit(log, planted_holdout(log), catalogue, CONFIG, seed=0)


def test_the_fused_ranking_finds_the_planted_item(fitted: Recommender) -> None:
    assert fitted.validation_ndcg == 1.0
    assert sum(fitted.weights.values()) == pytest.approx(1, abs=1e-5)


def test_seconds_of_every_stage_are_recorded_and_reported(checkerboard: Market) -> None:
    catalogue, log = checkerboard
    told: dict[str, float] = {}
    made = Recommender.fit(log, planted_holdout(log), catalogue, CONFIG, seed=0, on_stage=told.__setitem__)
    assert told == made.seconds
    assert list(told) == [*CONFIG.retrievers, "fusion"]


def test_a_retriever_that_cannot_be_fitted_is_skipped_with_its_reason(checkerboard: Market) -> None:
    catalogue, log = checkerboard
    config = RecommenderConfig.from_dict({"retrievers": ["popularity", "ease"], "ease": {"max_items": 5}})
    made = Recommender.fit(log, planted_holdout(log), catalogue, config, seed=0)
    assert list(made.retrievers) == ["popularity"]
    assert made.skipped["ease"].startswith("20 items are more than ease.max_items (5)")


def test_an_empty_log_is_refused(checkerboard: Market) -> None:
    catalogue, log = checkerboard
    nothing = log.select(np.zeros(len(log.item_rows), dtype=bool))
    with pytest.raises(DataError, match="no interactions to learn from"):
        Recommender.fit(nothing, planted_holdout(nothing), catalogue, CONFIG, seed=0)


def test_without_validation_users_all_retrievers_weigh_alike(checkerboard: Market) -> None:
    catalogue, log = checkerboard
    nobody = Holdout(
        log, np.zeros(0, dtype=np.int32), Targets(np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32))
    )
    made = Recommender.fit(log, nobody, catalogue, CONFIG, seed=0)
    assert set(made.weights.values()) == {0.2}
    assert made.validation_ndcg is None


def test_a_refit_keeps_the_weights_and_sees_everything(checkerboard: Market) -> None:
    catalogue, log = checkerboard
    split = leave_one_out(log)
    evaluated = Recommender.fit(split.train, split.validation, catalogue, CONFIG, seed=0)
    production = evaluated.refit(log, catalogue, seed=0)
    assert production.weights == pytest.approx(evaluated.weights)
    assert production.item_counts.sum() == len(log.item_rows)
    assert evaluated.item_counts.sum() == len(split.train.item_rows)


def test_a_saved_recommender_is_the_same(fitted: Recommender, checkerboard: Market, tmp_path: Path) -> None:
    _, log = checkerboard
    fitted.save(tmp_path / "one")
    loaded = Recommender.load(tmp_path / "one")
    loaded.save(tmp_path / "two")
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 12
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    histories = log.histories([3])
    for name, retriever in fitted.retrievers.items():
        np.testing.assert_array_equal(loaded.retrievers[name].score(histories), retriever.score(histories))
    assert loaded.config == fitted.config


def test_what_counts_nothing_is_silent_only_where_it_may_be(fitted: Recommender, tmp_path: Path) -> None:
    names = list(fitted.retrievers)
    fitted.use_weights({name: float(name == "co_occurrence") for name in names})
    assert fitted.silent == frozenset()
    fitted.config = replace(fitted.config, silent_at_zero=True)
    assert fitted.silent == set(names) - {"co_occurrence", "popularity"}
    fitted.save(tmp_path)
    assert Recommender.load(tmp_path).silent == fitted.silent
    fitted.own_ranker = ReciprocalRankRanker(tuple(names), 60.0)
    assert fitted.silent == frozenset()


def test_loading_nothing_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="train one first"):
        Recommender.load(tmp_path)


def test_a_refresh_recounts_what_is_cheap(fitted: Recommender, checkerboard: Market) -> None:
    catalogue, log = checkerboard
    als = fitted.retrievers["als"].score(log.histories([0]))
    less = log.select(log.item_rows != 7)
    fitted.refresh(catalogue, less)
    assert fitted.is_cold.nonzero()[0].tolist() == [7]
    assert fitted.retrievers["popularity"].score(log.histories([0]))[0, 7] == 0
    np.testing.assert_array_equal(fitted.retrievers["als"].score(log.histories([0])), als)


def test_the_index_covers_the_vector_retrievers(fitted: Recommender, checkerboard: Market) -> None:
    _, log = checkerboard
    index = fitted.build_index(seed=0, histories=log.histories([0, 1]), model_version="m", snapshot=3)
    assert index.names == ["als", "content"]
    assert index.recalls == {"als": 1.0, "content": 1.0}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"retrievers": ["content"]}, "popularity"),
        ({"retrievers": ["popularity", "magic"]}, "magic"),
        ({"retrievers": ["popularity", "popularity"]}, "twice"),
        ({"als": {"size": 3}}, "'size' in als"),
        ({"top_k": 3}, "'top_k' in recommender"),
        ({"candidates_per_retriever": 0}, "candidates_per_retriever"),
        ({"sequence": {"hidden": 3}}, "'hidden' in sequence"),
    ],
)
def test_a_wrong_table_is_refused(table: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        RecommenderConfig.from_dict(table)


def test_one_user_with_one_item_is_fitted_without_the_sequence_model(tmp_path: Path) -> None:
    catalogue = Catalogue.from_frame(pd.DataFrame({"item_id": ["tea"]}))
    event = {"user_id": ["ann"], "item_id": ["tea"], "event_at": [pd.Timestamp("2026-01-01")], "weight": [1.0]}
    log = InteractionLog.from_frame(pd.DataFrame(event), ["tea"], {})
    nobody = Holdout(
        log, np.zeros(0, dtype=np.int32), Targets(np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32))
    )
    evaluated = Recommender.fit(log, nobody, catalogue, RecommenderConfig(), seed=0)
    assert "no next item to learn from" in evaluated.skipped["sequence"]
    production = evaluated.refit(log, catalogue, seed=0)
    production.save(tmp_path)
    assert list(Recommender.load(tmp_path).retrievers) == ["popularity", "co_occurrence", "als", "ease"]
