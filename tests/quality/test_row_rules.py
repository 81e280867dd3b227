"""Each row rule on the smallest row that breaks it."""

from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from quality.landing_columns import Kind
from quality.row_parsing import parse_rows
from quality.row_rules import MAX_CELL_CHARACTERS, RuleContext, first_broken, row_rules

AS_OF = datetime(2024, 6, 1)
CONTEXT = RuleContext(AS_OF, frozenset({"view", "purchase", "cancel", "rating"}), r"\d+")
SOUND: dict[Kind, dict[str, str]] = {
    "events": {"user_id": "u1", "item_id": "1", "event_type": "view", "event_at": "2024-05-01T10:00:00Z"},
    "items": {"item_id": "1", "title": "Kettle", "price": "3.5", "categories": "Home > Kitchen"},
    "users": {"user_id": "u1", "region": "FR"},
}


def broken_rule(kind: Kind, **changes: str) -> str:
    """Name of the rule that a sound row breaks after these changes, empty for none."""
    rules = row_rules(kind, CONTEXT)
    cells = pd.DataFrame([{**SOUND[kind], **changes}])
    found = first_broken(parse_rows(kind, cells), rules)[0]
    return rules[found].name if found >= 0 else ""


@pytest.mark.parametrize("kind", ["events", "items", "users"])
def test_a_sound_row_breaks_no_rule(kind: Kind) -> None:
    assert broken_rule(kind) == ""


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"row_error": "has 3 cells where the header has 4"}, "row_error"),
        ({"user_id": ""}, "missing_user_id"),
        ({"item_id": " "}, "missing_item_id"),
        ({"event_type": ""}, "missing_event_type"),
        ({"event_at": ""}, "missing_event_at"),
        ({"event_at": "soon"}, "unparsable_time"),
        ({"event_at": "1970-01-01"}, "time_too_old"),
        ({"event_at": "2024-06-01T00:06:00Z"}, "future_time"),
        ({"event_at": "2024-06-01T00:04:00Z"}, ""),  # within the tolerance between clocks
        ({"event_type": "teleport"}, "unknown_event_type"),
        ({"item_id": "POST"}, "item_id_mismatch"),
        ({"value": "NaN"}, "value_not_finite"),
        ({"value": "-inf"}, "value_not_finite"),
        ({"value": "1e400"}, "value_not_finite"),
        ({"value": "1,5"}, "value_not_a_number"),
        ({"value": "-1"}, ""),  # a view may have any value
        ({"event_type": "purchase", "value": "0"}, "quantity_not_positive"),
        ({"event_type": "cancel", "value": "-2"}, "quantity_not_positive"),
        ({"event_type": "purchase", "value": ""}, ""),
        ({"source_order": "1.5"}, "source_order_not_an_integer"),
        ({"attributes": "[1]"}, "attributes_not_json"),
        ({"query": "x" * (MAX_CELL_CHARACTERS + 1)}, "cell_too_long"),
        ({"query": "x" * MAX_CELL_CHARACTERS}, ""),
    ],
)
def test_events(changes: dict[str, str], rule: str) -> None:
    assert broken_rule("events", **changes) == rule


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"item_id": ""}, "missing_item_id"),
        ({"title": "", "categories": ""}, ""),  # an item without text is kept
        ({"price": "-1"}, "price_negative"),
        ({"price": "inf"}, "price_not_finite"),
        ({"price": "£3"}, "price_not_a_number"),
        ({"available_until": "never"}, "unparsable_time"),
        ({"available_from": "2024-05-02", "available_until": "2024-05-01"}, "availability_reversed"),
        ({"available_until": "9999-12-31"}, ""),  # may lie in the future
        ({"updated_at": "2025-01-01"}, "future_time"),
        ({"categories": "[broken"}, "categories_unreadable"),
    ],
)
def test_items(changes: dict[str, str], rule: str) -> None:
    assert broken_rule("items", **changes) == rule


def test_the_first_rule_wins() -> None:
    assert broken_rule("events", user_id="", event_at="soon", value="x") == "missing_user_id"


def test_rules_judge_each_row_alone() -> None:
    cells = pd.DataFrame([SOUND["events"], {**SOUND["events"], "item_id": "M"}, SOUND["events"]])

    found = first_broken(parse_rows("events", cells), row_rules("events", CONTEXT))

    np.testing.assert_array_equal(found >= 0, [False, True, False])


def test_without_a_pattern_any_item_id_passes() -> None:
    names = [rule.name for rule in row_rules("events", RuleContext(AS_OF, frozenset({"view"})))]

    assert "item_id_mismatch" not in names
