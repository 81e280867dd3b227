"""Boundaries are the moments of items and rules at which something begins or ends."""

import numpy as np
import pandas as pd

from models.boundaries import boundaries
from models.catalogue import Catalogue
from models.reranking import ItemRule, RerankRules, resolve_rules


def _catalogue() -> Catalogue:
    moments = pd.to_datetime(pd.Series([None, 30, 10, 20], dtype="float"), unit="s")
    ends = pd.to_datetime(pd.Series([20, None, 40, 25], dtype="float"), unit="s")
    return Catalogue.from_frame(
        pd.DataFrame({"item_id": list("abcd"), "available_from": moments, "available_until": ends})
    )


def _rules() -> tuple[ItemRule, ...]:
    return (
        ItemRule("r", "block", "item_id", "a", valid_from=5, valid_until=20),
        ItemRule("s", "block", "item_id", "b", valid_until=35),
        ItemRule("t", "boost", "item_id", "b", 0.1),
    )


def test_each_begin_and_each_end_is_one() -> None:
    assert sorted(boundaries(_catalogue(), _rules()).tolist()) == [5, 10, 20, 20, 20, 25, 30, 35, 40]


def test_what_always_was_and_never_ends_has_none() -> None:
    catalogue = Catalogue.from_frame(pd.DataFrame({"item_id": ["a", "b"]}))
    assert boundaries(catalogue, (ItemRule("r", "block", "item_id", "a"),)).tolist() == []


def test_between_two_boundaries_nothing_changes() -> None:
    catalogue, rules = _catalogue(), RerankRules(item_rules=_rules())
    moments = boundaries(catalogue, rules.item_rules)
    for moment in range(50):
        reached = int(np.max(moments[moments <= moment], initial=0))
        now, then = (resolve_rules(rules, catalogue, as_of=at).allowed for at in (moment, reached))
        assert now.tolist() == then.tolist()
