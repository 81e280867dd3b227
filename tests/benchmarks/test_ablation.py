import importlib
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.recommender import Recommender
from models.recommender_config import RecommenderConfig

if TYPE_CHECKING:
    from landed_data import LandedData


@pytest.fixture
def ablation() -> ModuleType:
    return importlib.import_module("ablation")


def test_each_row_lacks_what_it_names(ablation: ModuleType, data: "LandedData") -> None:
    good = np.repeat(np.eye(4, dtype=np.float32), 8, axis=0)
    bad = np.roll(np.eye(32, dtype=np.float32), 5, axis=0)
    config = RecommenderConfig(retrievers=("popularity", "content", "co_occurrence"))
    stages = ablation.Stages(raw=bad, finetuned=good, pretrained=good)
    setting = ablation.Setting(data, data.split("leave-one-out"), config, stages, seed=1)
    split = setting.split
    whole = Recommender.fit(split.train, split.validation, setting.catalogue(good), config, seed=1)
    rows = dict(ablation.variants(whole, setting))
    assert list(rows) == [
        "fusion: fitted weights",
        "retriever: content",
        "retriever: co_occurrence",
        "encoder: fine-tuning",
        "encoder: any training",
    ]
    assert list(rows["retriever: content"].retrievers) == ["popularity", "co_occurrence"]
    assert set(rows["fusion: fitted weights"].weights.values()) == {1 / 3}
    with_bad = rows["encoder: any training"].retrievers["content"].item_vectors()
    np.testing.assert_array_equal(with_bad.argmax(axis=1), bad.argmax(axis=1))


def test_a_difference_is_that_of_the_same_users(ablation: ModuleType) -> None:
    everything = {"recall@10": np.array([1.0, 1.0, 0.0, 1.0]), "ndcg@10": np.array([1.0, 0.5, 0.0, 1.0])}
    less = {"recall@10": np.array([1.0, 0.0, 0.0, 1.0]), "ndcg@10": np.array([1.0, 0.0, 0.0, 1.0])}
    found = ablation.row("something", less, everything)
    assert found["recall@10"] == 0.5
    assert found["difference"]["difference"] == pytest.approx(-0.125)
    assert ablation.cells(found)[3].startswith("-0.1250 [")
