"""Pairs for contrastive fine-tuning."""

import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.engagement_pairs import (
    NO_CATEGORY,
    EngagementPairs,
    engagement_pairs,
    hard_negative_shares,
    sampling_shares,
)
from models.errors import DataError
from models.interactions import InteractionLog

CATALOGUE = Catalogue.from_frame(pd.DataFrame({"item_id": list("abcd"), "category": ["lips", "lips", "nails", None]}))


def _pairs(histories: dict[str, str], **options: int) -> EngagementPairs:
    rows = [
        (u, item, pd.Timestamp(2026, 1, 1 + day)) for u, chosen in histories.items() for day, item in enumerate(chosen)
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "event_at"]).assign(weight=1.0)
    log = InteractionLog.from_frame(frame, CATALOGUE.item_ids)
    return engagement_pairs(log, CATALOGUE, np.random.default_rng(0), **options)


def _named(pairs: EngagementPairs) -> list[str]:
    return ["abcd"[first] + "abcd"[second] for first, second in zip(pairs.anchors, pairs.positives, strict=True)]


def test_next_items_only() -> None:
    assert _named(_pairs({"u": "abc", "v": "da"}, window=1)) == ["ab", "bc", "da"]


def test_window_adds_co_engagement_with_less_weight() -> None:
    pairs = _pairs({"u": "abc"}, window=2)
    assert dict(zip(_named(pairs), pairs.weights, strict=True)) == {"ab": 0.4, "ac": 0.2, "bc": 0.4}


def test_no_pair_across_users_and_none_of_an_item_with_itself() -> None:
    assert _named(_pairs({"u": "a", "v": "bb", "w": "c"}, window=3)) == []


def test_heavy_users_are_capped() -> None:
    pairs = _pairs({"u": "abcdabcd", "v": "ab"}, window=1, pairs_per_user=2)
    assert np.bincount(pairs.users).tolist() == [2, 1]


def test_items_without_text_make_no_pairs() -> None:
    frame = pd.DataFrame({"user_id": "u", "item_id": list("abc"), "event_at": pd.date_range("2026-01-01", periods=3)})
    log = InteractionLog.from_frame(frame.assign(weight=1.0), CATALOGUE.item_ids)
    has_text = np.array([True, False, True, True])
    assert _named(engagement_pairs(log, CATALOGUE, np.random.default_rng(0), has_text=has_text)) == ["ac"]


def test_users_items_and_categories_come_along() -> None:
    pairs = _pairs({"u": "ab", "v": "dc"}, window=1)
    assert pairs.items_of(1).tolist() == [3, 2]
    lipstick, gloss, polish, unknown = pairs.categories
    assert lipstick == gloss != polish
    assert unknown == NO_CATEGORY


def test_sampling_shares_by_hand() -> None:
    pairs = _pairs({"u": "ab", "v": "ac"}, window=1)
    assert sampling_shares(pairs).tolist() == [1.0, 0.5, 0.5, 0.0]


def test_hard_negative_shares_by_hand() -> None:
    pairs = _pairs({"u": "cb", "v": "ac"}, window=1)
    shares = hard_negative_shares(pairs, np.ones(4, dtype=bool))
    assert shares.tolist() == [0.25, 0.25, 0.5, 0.0]


def test_log_of_another_catalogue_is_refused() -> None:
    log = InteractionLog.from_frame(
        pd.DataFrame({"user_id": ["u"], "item_id": ["a"], "event_at": [pd.Timestamp(2026, 1, 1)], "weight": [1.0]}),
        ["a"],
    )
    with pytest.raises(DataError, match="refers to 1 items, the catalogue has 4"):
        engagement_pairs(log, CATALOGUE, np.random.default_rng(0))


def test_type_of_the_later_event_comes_along() -> None:
    frame = pd.DataFrame({"user_id": "u", "item_id": list("abc"), "event_at": pd.date_range("2026-01-01", periods=3)})
    log = InteractionLog.from_frame(frame.assign(weight=1.0), CATALOGUE.item_ids)
    types = np.array([4, 5, 6])
    pairs = engagement_pairs(log, CATALOGUE, np.random.default_rng(0), window=1, event_types=types)
    assert pairs.event_types.tolist() == [5, 6]


def test_selected_pairs_have_weights_that_sum_to_one() -> None:
    pairs = _pairs({"u": "abc"}, window=1).select(np.array([1]), np.array([3.0]))
    assert (_named(pairs), pairs.weights.tolist(), pairs.events.tolist()) == (["bc"], [1.0], [2])
