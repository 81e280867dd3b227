import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.holdout_ranking import rank_alone, rank_holdout
from models.interactions import InteractionLog
from models.popularity import PopularityRetriever
from models.recommender import Recommender
from models.recommender_config import RecommenderConfig
from models.reranking import RerankRules
from models.splitting import Split, split_by_time

ITEMS = ["a", "b", "c", "d"]
# Popularity before second 10: a 3, b 2, c 1. Item d ends at second 9, so it can be in no list.
ROWS = [
    ("u1", "a", 1),
    ("u2", "a", 2),
    ("u3", "a", 3),
    ("u2", "b", 4),
    ("u3", "b", 5),
    ("u3", "c", 6),
    ("u1", "c", 10),
    ("u2", "c", 11),
    ("u4", "a", 12),
]


@pytest.fixture
def catalogue() -> Catalogue:
    ends = pd.to_datetime([None, None, None, 9], unit="s")
    return Catalogue.from_frame(pd.DataFrame({"item_id": ITEMS, "available_until": ends}))


@pytest.fixture
def split() -> Split:
    frame = pd.DataFrame(ROWS, columns=["user_id", "item_id", "second"])
    frame["event_at"] = pd.to_datetime(frame["second"], unit="s")
    return split_by_time(InteractionLog.from_frame(frame.assign(weight=1.0), ITEMS), validation_from=10, test_from=10)


@pytest.fixture
def recommender(split: Split, catalogue: Catalogue) -> Recommender:
    config = RecommenderConfig(retrievers=("popularity",))
    return Recommender.fit(split.train, split.validation, catalogue, config, seed=0)


def test_one_retriever_ranks_the_unseen_available_items(split: Split, catalogue: Catalogue) -> None:
    popularity = PopularityRetriever()
    popularity.fit(split.train, catalogue)
    ranked = rank_alone(popularity, split.test, catalogue, top_k=4)
    assert ranked.tolist() == [[1, 2, -1, -1], [2, -1, -1, -1]]
    with_seen = rank_alone(popularity, split.test, catalogue, top_k=4, exclude_seen=False)
    assert with_seen.tolist() == [[0, 1, 2, -1]] * 2


def test_the_served_lists_agree_when_there_is_one_retriever(split: Split, recommender: Recommender) -> None:
    assert rank_holdout(recommender, split.test, RerankRules(), top_k=2).tolist() == [[1, 2], [2, -1]]
    assert rank_holdout(recommender, split.new_users, RerankRules(), top_k=2).tolist() == [[0, 1]]


def test_nobody_gives_no_lists(split: Split, recommender: Recommender, catalogue: Catalogue) -> None:
    nobody = split.validation
    assert nobody.count == 0
    assert rank_holdout(recommender, nobody, RerankRules(), top_k=3).shape == (0, 3)
    assert rank_alone(recommender.retrievers["popularity"], nobody, catalogue, top_k=3).shape == (0, 3)
    assert rank_alone(recommender.retrievers["popularity"], nobody, catalogue, top_k=3).dtype == np.int32
