import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.errors import ConfigurationError
from models.reranking import (
    COLD,
    NATURAL,
    PINNED,
    ItemRule,
    ListBuilder,
    RerankRules,
    item_rules_from_frame,
    resolve_rules,
)

IDS = list("abcdefgh")
CATALOGUE = Catalogue.from_frame(
    pd.DataFrame(
        {
            "item_id": IDS,
            "category": ["x", "x", "x", "y", "y", "", "", "z"],
            "brand_or_author": ["p", "q", "p", "q", "p", "", "", ""],
            "available_until": [pd.NaT] * 7 + [pd.Timestamp("2026-01-01")],
        }
    )
)
NOW = int(pd.Timestamp("2026-06-01").timestamp())
NONE_COLD = np.zeros(8, dtype=bool)


def chosen(rules: RerankRules, order: str, top_k: int, cold: str = "") -> str:
    resolved = resolve_rules(rules, CATALOGUE, as_of=NOW)
    is_cold = np.isin(IDS, list(cold))
    items = [IDS.index(item) for item in order]
    slots = ListBuilder(resolved, is_cold, top_k=top_k).build(items)
    return "".join(order[slot.place] for slot in slots)


def test_without_rules_the_order_of_scores_stands() -> None:
    assert chosen(RerankRules(), "dcabe", 3) == "dca"


def test_a_category_cap_skips_and_goes_on() -> None:
    assert chosen(RerankRules(max_per_category=1), "abcdef", 3) == "adf"


def test_a_brand_cap_counts_only_known_brands() -> None:
    assert chosen(RerankRules(max_per_brand=1), "acbfg", 4) == "abfg"


def test_caps_are_relaxed_in_order_of_score_when_the_list_would_stay_short() -> None:
    assert chosen(RerankRules(max_per_category=1), "abcd", 3) == "abd"


def test_reserved_places_go_to_the_best_cold_items() -> None:
    rules = RerankRules(cold_places=(3, 4))
    assert chosen(rules, "abcdefg", 5, cold="fg") == "abfgc"
    # a cold item that stands above by itself fills the first of the reserved places
    assert chosen(rules, "fabcdeg", 5, cold="fg") == "fabgc"
    assert chosen(rules, "abcdefg", 5) == "abcde"


def test_every_prefix_holds_its_share_of_cold_items() -> None:
    # one of two slots, floor(0.5 * p) among the first p
    assert chosen(RerankRules(cold_share=0.5), "abcdefg", 6, cold="efg") == "aebfcg"


def test_a_cold_item_that_ranks_high_by_itself_counts_for_the_share() -> None:
    assert chosen(RerankRules(cold_share=0.5), "eabcdf", 4, cold="ef") == "eabf"


def test_without_cold_items_the_slots_go_to_the_others() -> None:
    assert chosen(RerankRules(cold_share=0.5), "abcd", 4) == "abcd"


def test_a_pin_takes_its_position() -> None:
    pin = ItemRule("r1", "pin", "item_id", "d", amount=2)
    assert chosen(RerankRules(item_rules=(pin,)), "abcd", 3) == "adb"


def test_a_pin_of_a_category_takes_its_best_item() -> None:
    pin = ItemRule("r1", "pin", "category", "y", amount=1)
    assert chosen(RerankRules(item_rules=(pin,)), "abedc", 3) == "eab"


def test_two_pins_of_one_position_follow_each_other() -> None:
    pins = (ItemRule("r2", "pin", "item_id", "c", amount=1), ItemRule("r1", "pin", "item_id", "d", amount=1))
    assert chosen(RerankRules(item_rules=pins), "abcd", 3) == "dca"


def test_a_pin_beyond_a_short_list_closes_it() -> None:
    pin = ItemRule("r1", "pin", "item_id", "a", amount=5)
    assert chosen(RerankRules(item_rules=(pin,)), "abc", 5) == "bca"


def test_slots_say_why_they_were_chosen() -> None:
    rules = RerankRules(cold_share=0.5, item_rules=(ItemRule("r1", "pin", "item_id", "c", amount=1),))
    resolved = resolve_rules(rules, CATALOGUE, as_of=NOW)
    is_cold = np.isin(IDS, ["d"])
    slots = ListBuilder(resolved, is_cold, top_k=3).build([0, 1, 2, 3])
    assert [(slot.place, slot.kind) for slot in slots] == [(2, PINNED), (3, COLD), (0, NATURAL)]


def test_blocked_and_expired_items_are_not_allowed() -> None:
    rules = RerankRules(item_rules=(ItemRule("r1", "block", "brand_or_author", "q"),))
    allowed = resolve_rules(rules, CATALOGUE, as_of=NOW).allowed
    assert "".join(np.array(IDS)[allowed]) == "acefg"


def test_boosts_add_up_where_they_match() -> None:
    rules = RerankRules(
        item_rules=(ItemRule("r1", "boost", "category", "x", 0.5), ItemRule("r2", "boost", "item_id", "a", 1.0))
    )
    resolved = resolve_rules(rules, CATALOGUE, as_of=NOW)
    np.testing.assert_allclose(resolved.boost, [1.5, 0.5, 0.5, 0, 0, 0, 0, 0])
    assert resolved.extra_rows.tolist() == [0]


@pytest.mark.parametrize(("offset", "holds"), [(-1, False), (0, True), (9, True), (10, False)])
def test_a_rule_holds_within_its_window_only(offset: int, holds: bool) -> None:
    rule = ItemRule("r1", "block", "item_id", "a", valid_from=NOW, valid_until=NOW + 10)
    allowed = resolve_rules(RerankRules(item_rules=(rule,)), CATALOGUE, as_of=NOW + offset).allowed
    assert bool(allowed[0]) != holds


def test_rules_are_read_for_one_surface() -> None:
    frame = pd.DataFrame(
        {
            "rule_id": ["r2", "r1", "r3"],
            "action": ["pin", "block", "boost"],
            "field": ["item_id", "category", "brand_or_author"],
            "match": ["a", "x", "p"],
            "amount": [1.0, np.nan, 0.3],
            "surface": ["home", None, "search"],
            "valid_from": [pd.Timestamp("1970-01-02"), pd.NaT, pd.NaT],
            "valid_until": pd.to_datetime([None, None, None]),
        }
    )
    assert item_rules_from_frame(frame, surface="home") == (
        ItemRule("r1", "block", "category", "x"),
        ItemRule("r2", "pin", "item_id", "a", amount=1.0, valid_from=86_400),
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: ItemRule("r1", "hide", "item_id", "a"),  # type: ignore[arg-type]
        lambda: ItemRule("r1", "block", "price", "a"),  # type: ignore[arg-type]
        lambda: ItemRule("r1", "pin", "item_id", "a", amount=0),
        lambda: RerankRules(cold_share=1.5),
        lambda: RerankRules(cold_places=(0,)),
        lambda: RerankRules(cold_places=(2, 2)),
        lambda: RerankRules(max_per_brand=-1),
    ],
)
def test_wrong_rules_are_refused(make: object) -> None:
    with pytest.raises(ConfigurationError):
        make()  # type: ignore[operator]
