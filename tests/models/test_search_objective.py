from dataclasses import replace

import numpy as np
import pytest

from models.catalogue import Catalogue
from models.ease import EASEConfig
from models.errors import ConfigurationError
from models.interactions import InteractionLog
from models.recommender_config import RecommenderConfig
from models.search_objective import sampled, validation_ndcg
from models.splitting import Holdout, Targets

CONFIG = RecommenderConfig(retrievers=("popularity", "ease"), ease=EASEConfig(regularization=1.0))
Market = tuple[Catalogue, InteractionLog]


def planted_holdout(log: InteractionLog) -> Holdout:
    """What the checkerboard plants: user u takes item u next."""
    users = np.arange(20, dtype=np.int32)
    return Holdout(log, users, Targets(np.arange(21), users))


def test_what_finds_the_planted_item_is_worth_one(checkerboard: Market) -> None:
    catalogue, log = checkerboard
    for target in ("fusion", "ease"):
        assert validation_ndcg(log, planted_holdout(log), catalogue, CONFIG, target=target, seed=0) == 1.0
    popularity = validation_ndcg(log, planted_holdout(log), catalogue, CONFIG, target="popularity", seed=0)
    assert popularity < 0.9


def test_a_retriever_that_cannot_be_fitted_is_named(checkerboard: Market) -> None:
    catalogue, log = checkerboard
    bare = replace(CONFIG, retrievers=("popularity", "content"))
    without_text = replace(catalogue, embeddings=None)
    with pytest.raises(ConfigurationError, match="content cannot be searched here: the catalogue has no embeddings"):
        validation_ndcg(log, planted_holdout(log), without_text, bare, target="content", seed=0)


def test_a_sample_of_users_keeps_their_targets(checkerboard: Market) -> None:
    holdout = planted_holdout(checkerboard[1])
    part = sampled(holdout, 7, seed=3)
    assert part.count == 7
    np.testing.assert_array_equal(part.targets.item_rows, part.user_rows)  # user u's target is item u
    np.testing.assert_array_equal(sampled(holdout, 7, seed=3).user_rows, part.user_rows)
    assert sampled(holdout, 20, seed=3) is holdout


def test_selected_targets_of_several_items_stay_with_their_user() -> None:
    targets = Targets(np.array([0, 2, 2, 5]), np.array([7, 8, 1, 2, 3], dtype=np.int32))
    chosen = targets.select(np.array([2, 0]))
    assert chosen.start.tolist() == [0, 3, 5]
    assert chosen.item_rows.tolist() == [1, 2, 3, 7, 8]
