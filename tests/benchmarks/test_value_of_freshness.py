"""The replay on a planted log: which events are known when, and lists that leave the known ones out."""

import importlib
import math
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.interactions import InteractionLog
from models.pipeline import rank_users
from models.recommender import Recommender
from models.recommender_config import RecommenderConfig
from models.reranking import RerankRules
from models.splitting import split_by_time

ITEMS = [f"i{row}" for row in range(8)]
BEGIN = 1_000
MOMENTS = {"a": [0, 500, 1_000, 1_030, 1_030, 5_000], "b": [1_100, 1_110], "c": [3]}


@pytest.fixture
def module() -> ModuleType:
    return importlib.import_module("value_of_freshness")


@pytest.fixture
def log() -> InteractionLog:
    rows = [(user, ITEMS[place], moment) for user, moments in MOMENTS.items() for place, moment in enumerate(moments)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "moment"])
    frame["event_at"] = pd.to_datetime(frame["moment"], unit="s")
    frame["position"] = frame.groupby("user_id").cumcount()
    return InteractionLog.from_frame(frame.assign(weight=1.0), ITEMS)


def test_events_are_those_of_the_window(module: ModuleType, log: InteractionLog) -> None:
    events = module.events_of_window(log, BEGIN, 30)
    assert events.positions.tolist() == [2, 3, 4, 5, 6, 7]
    assert events.users.tolist() == [0, 0, 0, 0, 1, 1]
    assert events.before_window.tolist() == [2, 2, 2, 2, 6, 6]
    assert module.events_of_window(log, BEGIN, 2).positions.tolist() == [2, 4, 6, 7]


@pytest.mark.parametrize(
    ("delay", "known"),
    [
        (0.0, [2, 3, 4, 5, 6, 7]),
        (10.0, [2, 3, 3, 5, 6, 7]),
        (60.0, [2, 2, 2, 5, 6, 6]),
        (5_000.0, [2, 2, 2, 2, 6, 6]),
        (math.inf, [2, 2, 2, 2, 6, 6]),
    ],
)
def test_what_is_known_lags_behind(module: ModuleType, log: InteractionLog, delay: float, known: list[int]) -> None:
    events = module.events_of_window(log, BEGIN, 30)
    assert module.known_until(log, events, delay).tolist() == known


def test_lists_are_those_of_the_known_events(module: ModuleType, log: InteractionLog) -> None:
    split = split_by_time(log, validation_from=900, test_from=BEGIN)
    catalogue = Catalogue.from_frame(pd.DataFrame({"item_id": ITEMS}))
    config = RecommenderConfig.from_dict({"retrievers": ["popularity", "co_occurrence"], "fusion": {"evaluations": 5}})
    made = Recommender.fit(split.train, split.validation, catalogue, config, seed=0)
    rules = RerankRules(exclude_seen=True)
    first, ends = np.array([0, 0, 0, 6]), np.array([6, 2, 6, 6])
    found = module.lists_from(made, log, first, ends, rules, as_of=9_000)
    whole = rank_users(made, None, log.histories([0], length=50), rules, top_k=10, as_of=9_000).items
    assert found[0].tolist() == found[2].tolist() == whole[0].tolist()
    assert not {0, 1} & set(found[1].tolist())
    assert {2, 3, 4, 5} <= set(found[1].tolist())
    assert set(found[3].tolist()) - {-1} == set(range(8))
