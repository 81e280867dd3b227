"""From the rules of a contract to a Great Expectations suite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from quality.contracts import Between, EqualsColumn, InSet, Matches, NotNull, Rule

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite
    from great_expectations.expectations.expectation import Expectation

_SEVERITIES = {"error": "critical", "warning": "warning"}


def build_suite(name: str, rules: Sequence[Rule]) -> ExpectationSuite:
    """One expectation per rule, in order; importing Great Expectations takes seconds, so it happens here.

    Args:
        name: Name of the suite.
        rules: No two of them may have the same check, column and condition.
    """
    import great_expectations as gx

    return gx.ExpectationSuite(name=name, expectations=[_expectation(place, rule) for place, rule in enumerate(rules)])


def _expectation(place: int, rule: Rule) -> Expectation:
    import great_expectations.expectations as gxe
    from great_expectations.expectations.core import ExpectColumnPairValuesToBeEqual

    # The place finds the rule again: results come back in an order of Great Expectations' own.
    meta = {"place": place, "check": rule.check, "says": rule.says}
    told: dict[str, Any] = {"meta": meta, "severity": _SEVERITIES[rule.severity]}
    match rule.condition:
        case NotNull():
            return gxe.ExpectColumnValuesToNotBeNull(column=rule.column, **told)
        case Between(minimum, maximum):
            return gxe.ExpectColumnValuesToBeBetween(column=rule.column, min_value=minimum, max_value=maximum, **told)
        case InSet(allowed):
            return gxe.ExpectColumnValuesToBeInSet(column=rule.column, value_set=list(allowed), **told)
        case Matches(pattern):
            return gxe.ExpectColumnValuesToMatchRegex(column=rule.column, regex=pattern, **told)
        case EqualsColumn(other):
            return ExpectColumnPairValuesToBeEqual(column_A=rule.column, column_B=other, **told)
