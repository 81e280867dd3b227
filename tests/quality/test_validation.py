import subprocess
import sys

import pandas as pd
import pytest

from models.errors import DataError
from quality.contracts import Between, Condition, EqualsColumn, Fact, InSet, Matches, NotNull, Rule
from quality.validation import shown, validate, validate_facts

FRAME = pd.DataFrame({
    "event_id": ["e1", "e2", "e3"],
    "weight": [1.0, -2.0, None],
    "item_id": ["p", "  ", None],
    "split": ["train", "later", "test"],
    "start": [1, 2, 3],
    "end": [1, 2, 4],
})  # fmt: skip


@pytest.mark.parametrize(
    ("column", "condition", "sample"),
    [
        ("weight", Between(0, None), "event_id=e2, weight=-2.0"),
        ("item_id", Matches(r"\S"), "event_id=e2, item_id=  "),
        ("item_id", NotNull(), "event_id=e3, item_id=nan"),
        ("split", InSet(("train", "test")), "event_id=e2, split=later"),
        ("start", EqualsColumn("end"), "event_id=e3, start=3, end=4"),
    ],
)
def test_a_row_that_breaks_a_rule_is_counted_and_shown(column: str, condition: Condition, sample: str) -> None:
    rule = Rule("holds", column, condition, "It holds.")
    (outcome,) = validate(FRAME, [rule], name="suite", key=("event_id",)).rules
    assert (outcome.passed, outcome.unexpected, outcome.total, outcome.sample) == (False, 1, 3, (sample,))


def test_outcomes_keep_the_order_of_the_rules_and_only_errors_fail_a_suite() -> None:
    rules = [
        Rule("b", "weight", Between(0, None), "", "warning"),
        Rule("a", "start", Between(1, None), ""),
        Rule("a", "end", Between(1, None), ""),
    ]
    outcome = validate(FRAME, rules, name="suite")
    assert [(rule.check, rule.column, rule.passed) for rule in outcome.rules] == [
        ("b", "weight", False),
        ("a", "start", True),
        ("a", "end", True),
    ]
    assert outcome.passed
    assert len(outcome.of_check("a")) == 2


def test_a_sample_is_cut_and_the_frame_is_left_alone() -> None:
    frame = pd.DataFrame({"x": [1, 2, 3, 4]}, index=[7, 8, 9, 9])
    (outcome,) = validate(frame, [Rule("c", "x", Between(0, 1), "")], name="suite", sample=2).rules
    assert (outcome.unexpected, outcome.sample) == (3, ("x=2", "x=3"))
    assert list(frame.index) == [7, 8, 9, 9]


def test_an_empty_frame_breaks_no_rule() -> None:
    assert validate(FRAME.iloc[:0], [Rule("c", "weight", Between(0, 1), "")], name="suite").passed


def test_a_rule_on_an_absent_column_is_an_error_that_names_both() -> None:
    with pytest.raises(DataError, match=r"'suite'.*'is_known'.*'colour'"):
        validate(FRAME, [Rule("is_known", "colour", NotNull(), "")], name="suite")


def test_facts_are_judged_by_their_own_range() -> None:
    facts = [
        Fact("ids_are_unique", "event_id", "", ""),
        Fact("rate_is_low", "percent", "", "", maximum=2.0, severity="warning", unit="percent"),
        Fact("rows_exist", "events", "", "", minimum=1, maximum=None),
    ]
    outcome = validate_facts([0, 2.5, 0], facts, name="suite", total=9)
    assert [(rule.check, rule.passed, rule.unexpected) for rule in outcome.rules] == [
        ("ids_are_unique", True, 0),
        ("rate_is_low", False, 2.5),
        ("rows_exist", False, 0),
    ]
    assert [(rule.unit, rule.limit) for rule in outcome.rules] == [
        ("", ""),
        ("percent", "at most 2"),
        ("", "at least 1"),
    ]


@pytest.mark.parametrize(("value", "expected"), [("a" * 32, "a" * 32), ("ann@example.org", "withheld")])
def test_only_a_pseudonym_of_a_user_is_shown(value: str, expected: str) -> None:
    assert expected in shown("user_id", value)
    assert value == expected or value not in shown("user_id", value)


def test_a_long_value_is_cut() -> None:
    assert len(shown("title", "x" * 10_000)) == 81


def test_importing_the_suites_does_not_import_great_expectations() -> None:
    code = "import sys, quality.boundaries, quality.validation; assert 'great_expectations' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
