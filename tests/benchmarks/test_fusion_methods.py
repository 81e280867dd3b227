"""The table of fusion methods, on retrievers whose worth is known."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.fusion_config import METHODS
from models.recommender import Recommender
from models.recommender_config import RecommenderConfig

if TYPE_CHECKING:
    from landed_data import LandedData


@pytest.fixture
def fusion_methods() -> ModuleType:
    return importlib.import_module("fusion_methods")


@pytest.fixture
def fitted(data: "LandedData") -> Recommender:
    """The text tells the blocks, popularity tells nothing."""
    table = {"retrievers": ["popularity", "content"], "fusion": {"trees": 5, "min_leaf": 5}}
    split = data.split("leave-one-out")
    blocks = data.catalogue.with_embeddings(np.repeat(np.eye(4, dtype=np.float32), 8, axis=0))
    return Recommender.fit(split.train, split.validation, blocks, RecommenderConfig.from_dict(table), seed=1)


def test_every_method_has_a_row_of_its_own(fusion_methods: ModuleType, data: "LandedData", fitted: Recommender) -> None:
    facts = fusion_methods.measure(fitted, data.split("leave-one-out"), data, seed=1)
    rows = facts["rows"]
    assert set(rows) == {"even", *METHODS}
    assert rows["weighted"]["against_weighted"] is None
    assert rows["even"]["validation_ndcg@10"] is None
    # By ranks alone popularity has as much say as the text, which tells what fits.
    assert rows["weighted"]["ndcg@10"]["value"] > rows["even"]["ndcg@10"]["value"]
    assert rows["weighted"]["ndcg@10"]["value"] > rows["rrf"]["ndcg@10"]["value"] + 0.3
    difference = rows["even"]["ndcg@10"]["value"] - rows["weighted"]["ndcg@10"]["value"]
    assert rows["even"]["against_weighted"]["difference"] == pytest.approx(difference)
    lines = fusion_methods.methods_table(facts).splitlines()
    assert len(lines) == 2 + len(rows)
    assert lines[2].startswith("| weighted sum |")


def test_the_ranker_is_of_the_method(fusion_methods: ModuleType, data: "LandedData", fitted: Recommender) -> None:
    split = data.split("leave-one-out")
    for method in METHODS:
        assert fusion_methods.fused_by(method, fitted, split, seed=1).ranker.name == method
    even = fusion_methods.fused_by("even", fitted, split, seed=1)
    assert set(even.weights.values()) == {0.5}
