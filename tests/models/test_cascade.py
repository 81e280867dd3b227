from itertools import pairwise

import numpy as np
import pytest

from models.cascade import StageLoss, cascade_table, measure_cascade, stage_loss
from models.catalogue import Catalogue
from models.interactions import InteractionLog
from models.recommender import Recommender
from models.recommender_config import RecommenderConfig
from models.reranking import RerankRules
from models.splitting import Holdout, Targets


def test_losses_equal_the_hand_computed_ones() -> None:
    targets = Targets(np.array([0, 2, 3]), np.array([4, 9, 7], dtype=np.int32))
    items = np.array([[4, 5, 6], [7, -1, -1]], dtype=np.int32)  # one of two; the only one
    loss = stage_loss("ranked", items, targets, k=5)
    best = 1 / (1 + 1 / np.log2(3))
    assert loss == StageLoss("ranked", 2.0, 0.75, pytest.approx((best + 1) / 2))


def test_no_stage_finds_again_what_an_earlier_one_lost(checkerboard: tuple[Catalogue, InteractionLog]) -> None:
    catalogue, log = checkerboard
    users = np.arange(20, dtype=np.int32)
    holdout = Holdout(log, users, Targets(np.arange(21), users))
    config = RecommenderConfig.from_dict(
        {
            "retrievers": ["popularity", "content", "ease"],
            "candidates_per_retriever": 4,
            "fusion": {"method": "lambdarank", "narrow": 3, "trees": 5, "min_leaf": 2},
        }
    )
    made = Recommender.fit(log, holdout, catalogue, config, seed=0)
    stages = measure_cascade(made, holdout, RerankRules(max_per_brand=1), top_k=3, k=3, seed=0)
    assert [stage.name for stage in stages] == ["proposed", "narrowed", "ranked", "listed"]
    assert stages[1].width == 3
    for before, after in pairwise(stages[:3]):
        assert after.reached <= before.reached
        assert after.ceiling <= before.ceiling
    assert "| narrowed | 3 |" in cascade_table(stages, k=3)
