"""Lists of many users at once against lists of one user after the other."""

import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.interactions import PADDING
from models.list_batches import build_batch
from models.reranking import COLD, FILLED, NATURAL, ListBuilder, RerankRules, resolve_rules

ITEMS, TOP_K = 60, 10


def market() -> Catalogue:
    random = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "item_id": [f"i{number:02d}" for number in range(ITEMS)],
            "category": random.choice(["", "a", "b", "c"], ITEMS),
            "brand": random.choice(["", "x", "y", "z", "w"], ITEMS),
        }
    )
    return Catalogue.from_frame(frame)


@pytest.mark.parametrize(
    "rules",
    [
        RerankRules(),
        RerankRules(max_per_category=3),
        RerankRules(max_per_category=4, max_per_brand=2),
        RerankRules(cold_places=(3, 9, 10)),
        RerankRules(max_per_category=3, max_per_brand=3, cold_share=0.3),
        RerankRules(max_per_category=1, max_per_brand=1, cold_places=(1,)),
    ],
)
@pytest.mark.parametrize("cold_share", [0.0, 0.1, 1.0])
def test_a_batch_equals_its_users_one_by_one(rules: RerankRules, cold_share: float) -> None:
    random = np.random.default_rng(11)
    is_cold = random.random(ITEMS) < cold_share
    resolved = resolve_rules(rules, market(), as_of=0)
    items = np.full((40, 30), PADDING, dtype=np.int32)
    for user in range(40):
        count = int(random.integers(0, 31))
        items[user, :count] = random.permutation(ITEMS)[:count]

    made = build_batch(items, resolved, is_cold, top_k=TOP_K)

    builder = ListBuilder(resolved, is_cold, top_k=TOP_K)
    for user in range(40):
        slots = builder.build_within_caps(items[user][items[user] != PADDING].tolist())
        padding = TOP_K - len(slots)
        assert made.places[user].tolist() == [slot.place for slot in slots] + [PADDING] * padding
        assert made.kinds[user].tolist() == [slot.kind for slot in slots] + [FILLED] * padding
        assert made.is_full[user] == (not padding)
    if cold_share == 0.1 and rules.has_cold_slots:
        assert (made.kinds == COLD).any()
    assert (made.kinds == NATURAL).any()


def test_no_candidates_make_no_lists() -> None:
    resolved = resolve_rules(RerankRules(), market(), as_of=0)
    made = build_batch(np.zeros((2, 0), dtype=np.int32), resolved, np.zeros(ITEMS, dtype=bool), top_k=3)
    assert made.places.tolist() == [[PADDING] * 3] * 2
    assert not made.is_full.any()
