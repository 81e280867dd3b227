import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.fusion import ScoredCandidates
from models.interactions import Histories
from models.rank_features import DAY_SECONDS, ItemFacts, RankContext, feature_names, features

CATALOGUE = Catalogue.from_frame(
    pd.DataFrame(
        {
            "item_id": ["a", "b", "c"],
            "category": ["x", "x", ""],
            "brand_or_author": ["p", "q", "q"],
            "price": [10.0, 20.0, np.nan],
            "available_from": [pd.Timestamp("1970-01-03"), pd.NaT, pd.NaT],
        }
    )
)
VECTORS = np.array([[1, 0], [0.6, 0.8], [0, 1]], dtype=np.float32)


def values(history: list[int]) -> dict[str, list[float]]:
    """Features of candidates a, b, c of one user, five days after the epoch."""
    items = np.array([history or [-1]], dtype=np.int32)
    histories = Histories(
        items, np.ones(items.shape, np.float32), np.full(items.shape, DAY_SECONDS), np.array([""], object)
    )
    facts = ItemFacts.of(CATALOGUE, np.array([3, 0, 0]), VECTORS)
    candidates = ScoredCandidates(np.array([[0, 1, 2]], np.int32), np.array([[[2, 1, 1]]], np.float32))
    made = features(candidates, RankContext(histories, facts, 5 * DAY_SECONDS))
    return dict(zip(feature_names(["als"]), made[:, 0].tolist(), strict=True))


def test_features_equal_the_hand_computed_ones() -> None:
    made = values([0, 1])  # a, then b
    assert made["als_score"] == [2, 1, 1]
    assert made["als_rank"] == pytest.approx(np.log1p([1, 2, 2]))
    assert made["log_popularity"] == pytest.approx(np.log([4 / 2, 1 / 2, 1 / 2]))
    assert made["item_age_days"] == pytest.approx([3, np.nan, np.nan], nan_ok=True)
    assert made["is_cold"] == [0, 1, 1]
    assert made["text_similarity_last"] == pytest.approx([0.6, 1, 0.8])
    assert made["text_similarity_recent"] == pytest.approx([1, 1, 0.8])
    assert made["price_gap"] == pytest.approx(np.log([10 / 200**0.5, 20 / 200**0.5, np.nan]), nan_ok=True)
    assert made["same_category"] == pytest.approx([1, 1, np.nan], nan_ok=True)
    assert made["same_brand"] == [0.5, 0.5, 0.5]
    assert made["history_length"] == pytest.approx([np.log(3)] * 3)
    assert made["days_since_last"] == [4, 4, 4]


def test_what_is_unknown_without_a_history_is_nan() -> None:
    made = values([])
    for name in ("text_similarity_last", "price_gap", "days_since_last"):
        assert np.isnan(made[name]).all()
