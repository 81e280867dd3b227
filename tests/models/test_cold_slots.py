import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.cold_slots import (
    SlotTradeoff,
    choose_slots,
    cold_users,
    draw_items,
    hold_out_items,
    measure_lifts,
    measure_slots,
)
from models.cold_slots import slot_options as options
from models.errors import ConfigurationError, DataError
from models.interactions import InteractionLog
from models.recommender import Recommender
from models.recommender_config import RecommenderConfig
from models.reranking import RerankRules
from models.splitting import Split, leave_one_out

GROUPS, PER_GROUP = 4, 10


@pytest.fixture
def shop() -> tuple[Catalogue, Split]:
    """Each user takes six items of one group, and the text of an item tells its group."""
    rng = np.random.default_rng(0)
    ids = [f"i{row:02d}" for row in range(GROUPS * PER_GROUP)]
    text = np.repeat(np.eye(GROUPS, dtype=np.float32), PER_GROUP, axis=0)
    rows = [
        (f"u{user:03d}", ids[(user % GROUPS) * PER_GROUP + item], day)
        for user in range(120)
        for day, item in enumerate(rng.permutation(PER_GROUP)[:6])
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "day"])
    frame["event_at"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(frame["day"], unit="D")
    catalogue = Catalogue.from_frame(pd.DataFrame({"item_id": ids}), text)
    return catalogue, leave_one_out(InteractionLog.from_frame(frame.assign(weight=1.0), ids))


def test_held_out_items_are_in_no_history_and_stay_targets(shop: tuple[Catalogue, Split]) -> None:
    split = shop[1]
    items = draw_items(split.train, 8, seed=1)
    cold = hold_out_items(split, items)
    for log in (cold.train, cold.validation.history, cold.test.history):
        assert not np.isin(log.item_rows, items).any()
    np.testing.assert_array_equal(cold.test.targets.item_rows, split.test.targets.item_rows)
    assert cold_users(cold.test, items).sum() == np.isin(split.test.targets.item_rows, items).sum()
    others = draw_items(split.train, 8, seed=1, without=[items])
    assert not np.isin(others, items).any()


def test_reserved_places_bring_the_held_out_items_to_those_who_want_them(shop: tuple[Catalogue, Split]) -> None:
    catalogue, split = shop
    items = draw_items(split.train, 8, seed=1)
    cold = hold_out_items(split, items)
    config = RecommenderConfig.from_dict({"retrievers": ["popularity", "content", "ease"]})
    made = Recommender.fit(cold.train, cold.validation, catalogue, config, seed=0)
    made.weights = {"popularity": 0.0, "content": 0.0, "ease": 1.0}
    none, one, three = measure_slots(made, cold.test, items, RerankRules(), [(), (4,), (2, 3, 4)], k=4)
    # no group has more than three held-out items
    assert none.cold_recall < 0.3
    assert none.cold_recall < one.cold_recall < three.cold_recall == 1
    assert none.recall > three.recall


def test_the_best_affordable_option_is_chosen() -> None:
    tradeoffs = [
        SlotTradeoff((), 0.0, 0.1),
        SlotTradeoff((10,), 0.05, 0.0998),
        SlotTradeoff((9, 10), 0.09, 0.0996),
        SlotTradeoff((8, 9, 10), 0.12, 0.0990),
    ]
    assert choose_slots(tradeoffs, tolerance=0.0005).places == (9, 10)
    assert choose_slots(tradeoffs, tolerance=0.0).places == ()


def test_late_places_are_offered_first() -> None:
    assert options(10, 2) == [(), (10,), (9, 10)]
    with pytest.raises(ConfigurationError, match="between 0 and 3"):
        options(3, 4)


def test_more_items_than_there_are_cannot_be_held_out(shop: tuple[Catalogue, Split]) -> None:
    with pytest.raises(DataError, match="hold out fewer"):
        draw_items(shop[1].train, 1_000, seed=1)


def test_chances_that_were_not_fitted_cannot_be_lifted(shop: tuple[Catalogue, Split]) -> None:
    catalogue, split = shop
    items = draw_items(split.train, 8, seed=1)
    cold = hold_out_items(split, items)
    config = RecommenderConfig.from_dict({"retrievers": ["popularity", "content"]})
    made = Recommender.fit(cold.train, cold.validation, catalogue, config, seed=0)
    with pytest.raises(DataError, match=r"newcomers\.lift"):
        measure_lifts(made, cold.test, items, RerankRules(), [0.0], k=4)
