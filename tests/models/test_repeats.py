import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.errors import ConfigurationError
from models.interactions import Histories, InteractionLog
from models.recommender import Recommender
from models.recommender_config import RecommenderConfig
from models.repeats import RepeatConfig, RepeatRetriever
from models.splitting import Holdout, Targets

ITEMS = list("abcdef")
CATALOGUE = Catalogue.from_frame(pd.DataFrame({"item_id": ITEMS, "title": ITEMS}))


def log_of(bought: dict[str, list[tuple[str, int]]], weight: float = 1.0) -> InteractionLog:
    """Purchases as (item, day) by user."""
    rows = [(user, item, day) for user, own in bought.items() for item, day in own]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "day"])
    frame["event_at"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(frame.pop("day"), unit="D")
    return InteractionLog.from_frame(frame.assign(weight=weight), ITEMS)


def scores(bought: list[tuple[str, int]], config: RepeatConfig, weight: float = 1.0) -> dict[str, float]:
    log = log_of({"u": bought}, weight)
    retriever = RepeatRetriever(config)
    retriever.fit(log, CATALOGUE)
    row = retriever.score(log.histories([0]))[0]
    return {item: float(value) for item, value in zip(ITEMS, row, strict=True) if value}


def test_each_purchase_halves_with_its_age() -> None:
    found = scores([("a", 0), ("b", 0), ("a", 10), ("c", 20)], RepeatConfig(half_life_days=10))
    assert found == pytest.approx({"a": 0.25 + 0.5, "b": 0.25, "c": 1.0})


def test_age_is_counted_from_the_last_purchase_of_the_user() -> None:
    config = RepeatConfig(half_life_days=10)
    assert scores([("a", 0), ("b", 10)], config) == scores([("a", 300), ("b", 310)], config)


def test_weights_of_events_count() -> None:
    assert scores([("a", 0), ("b", 0), ("a", 0)], RepeatConfig(), weight=2.0) == {"a": 4.0, "b": 2.0}


def test_only_the_latest_purchases_are_read() -> None:
    assert set(scores([("a", 0), ("b", 1), ("c", 2)], RepeatConfig(history_length=2))) == {"b", "c"}


def test_the_stored_scores_are_those_of_the_whole_row() -> None:
    log = log_of({"u": [("a", 0), ("a", 3), ("f", 4)], "v": [("b", 1)]})
    retriever = RepeatRetriever()
    retriever.fit(log, CATALOGUE)
    histories: Histories = log.histories([0, 1])
    stored = retriever.sparse_scores(histories)
    assert stored.nnz == 3
    np.testing.assert_array_equal(stored.toarray(), retriever.score(histories))


def test_an_item_calls_for_itself_alone() -> None:
    rows = np.array([0, 1, 2], dtype=np.int32)
    np.testing.assert_array_equal(RepeatRetriever().similarity(rows, np.array([0, 2, 2], dtype=np.int32)), [1, 0, 1])


@pytest.mark.parametrize("settings", [{"half_life_days": 0.0}, {"history_length": 0}])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=f"repeat.{next(iter(settings))}"):
        RepeatConfig(**settings)  # type: ignore[arg-type]


@pytest.fixture
def same_again() -> tuple[InteractionLog, Holdout]:
    """Every user buys one item of their own three times and others once, and that one again."""
    users = {f"u{own}": [(ITEMS[own], 0), (ITEMS[own], 5), (ITEMS[own], 9), (ITEMS[own - 1], 10)] for own in range(6)}
    log = log_of(users)
    return log, Holdout(log, np.arange(6, dtype=np.int32), Targets(np.arange(7), np.arange(6, dtype=np.int32)))


def test_it_takes_part_where_the_same_may_be_bought_again(same_again: tuple[InteractionLog, Holdout]) -> None:
    log, holdout = same_again
    table = {"retrievers": ["popularity", "co_occurrence", "repeat"], "exclude_seen": False}
    made = Recommender.fit(log, holdout, CATALOGUE, RecommenderConfig.from_dict(table), seed=0)
    assert made.validation_ndcg == 1.0
    assert max(made.weights, key=made.weights.__getitem__) == "repeat"


def test_it_is_left_out_where_the_history_is(same_again: tuple[InteractionLog, Holdout]) -> None:
    log, holdout = same_again
    config = RecommenderConfig.from_dict({"retrievers": ["popularity", "repeat"], "exclude_seen": True})
    made = Recommender.fit(log, holdout, CATALOGUE, config, seed=0)
    assert list(made.retrievers) == ["popularity"]
    assert "exclude_seen" in made.skipped["repeat"]


def test_it_is_a_default() -> None:
    assert "repeat" in RecommenderConfig().retrievers
