from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.errors import ConfigurationError
from models.graph import GraphConfig, GraphRetriever
from models.interactions import InteractionLog

IDS = ["a", "b", "c", "d"]
ITEMS = pd.DataFrame({"item_id": IDS, "brand_or_author": ["x", "x", "y", ""], "category": ["k", "", "k", "k"]})
CATALOGUE = Catalogue.from_frame(ITEMS)
WALK_ONLY = GraphConfig(brand_share=0, category_share=0, brand_in_category_share=0)


def log_of(baskets: dict[str, str]) -> InteractionLog:
    rows = [(user, item, number) for user, items in baskets.items() for number, item in enumerate(items)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "position"])
    return InteractionLog.from_frame(frame.assign(event_at=pd.Timestamp("2026-01-01"), weight=1.0), IDS)


def fitted(baskets: dict[str, str], config: GraphConfig) -> GraphRetriever:
    model = GraphRetriever(config)
    model.fit(log_of(baskets), CATALOGUE)
    return model


def test_edges_are_the_odds_of_a_walk_through_a_user() -> None:
    # From a: user 1 (one other item, b) or user 2 (two others, b and c), each with odds 1/2.
    edges = fitted({"1": "ab", "2": "abc"}, WALK_ONLY).edges().toarray()
    to_b, to_c = 1 / 2 * 1 / 2 + 1 / 2 * 1 / 3, 1 / 2 * 1 / 3
    np.testing.assert_allclose(edges[0], np.array([0, to_b, to_c, 0]) / (to_b + to_c), rtol=1e-6)
    np.testing.assert_allclose(edges[2], [1 / 2, 1 / 2, 0, 0], rtol=1e-6)
    assert not edges[3].any()


def test_damping_holds_popular_items_back() -> None:
    baskets = {"1": "abc", "2": "b", "3": "b", "4": "b"}  # b has four users, c one
    edges = fitted(baskets, replace(WALK_ONLY, damping=0.5)).edges().toarray()
    assert edges[0, 2] / edges[0, 1] == pytest.approx(4**0.5)


def test_a_step_by_category_goes_to_its_members_by_popularity() -> None:
    model = fitted({"1": "a", "2": "c", "3": "c"}, replace(WALK_ONLY, category_share=0.5, popularity_power=1.0))
    scores = model.score(log_of({"x": "a"}).histories([0]))[0]
    # Members of k: a with 1 user, c with 2, d with none; each counts one more.
    np.testing.assert_allclose(scores, np.array([2, 0, 3, 1]) / 6 * 0.5, rtol=1e-6)


def test_an_item_without_a_group_gets_nothing_from_groups() -> None:
    model = fitted({"1": "a"}, replace(WALK_ONLY, brand_share=1.0))
    assert not model.score(log_of({"x": "d"}).histories([0])).any()


def test_a_new_item_is_reached_by_its_brand_at_once() -> None:
    model = fitted({"1": "ab"}, GraphConfig())
    new = pd.DataFrame({"item_id": ["e"], "brand_or_author": ["x"], "category": ["k"]})
    model.refresh(Catalogue.from_frame(pd.concat([ITEMS, new])))
    histories = log_of({"x": "a"}).histories([0])
    scores = model.score(histories)[0]
    assert scores[4] > scores[3] > 0
    assert scores[1] > scores[4]


def test_the_similarity_of_a_pair_is_the_score_of_a_history_of_one() -> None:
    model = fitted({"1": "ab", "2": "bcd", "3": "ac"}, GraphConfig(recency_decay=0))
    scores = model.score(log_of({"x": "a"}).histories([0]))[0]
    pairs = model.similarity(np.zeros(4, dtype=np.int32), np.arange(4, dtype=np.int32))
    np.testing.assert_allclose(pairs, scores, rtol=1e-6)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"graph.neighbours"):
        GraphConfig(neighbours=0)
    with pytest.raises(ConfigurationError, match=r"graph.brand_share"):
        GraphConfig(brand_share=-1)
