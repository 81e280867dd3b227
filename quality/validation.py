"""Run rules on a frame with Great Expectations; the outcome is plain data that knows nothing of it.

Great Expectations has no engine for DuckDB, and its failing row lists grow with the frame: give it a window or an
audit frame, and facts for what must be known of the whole table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from models.errors import DataError
from quality.contracts import PSEUDONYM, Between, EqualsColumn, Fact, Rule, Severity
from quality.suites import build_suite

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite
    from great_expectations.core import ExpectationValidationResult

_LONGEST_SAMPLE = 80


@dataclass(frozen=True)
class RuleOutcome:
    """What one rule found."""

    check: str
    column: str
    severity: Severity
    says: str
    passed: bool
    unexpected: float
    """Offending rows; for a fact the number that SQL counted."""

    total: int
    """Rows that were read; for a fact the rows of the table."""

    sample: tuple[str, ...] = ()
    """A few offending values with the keys of their rows, safe to show."""

    unit: str = ""
    """What `unexpected` counts or measures, where that is not rows out of `total`."""

    limit: str = ""
    """What was allowed, such as `at most 48`, where that is not 0."""


@dataclass(frozen=True)
class ValidationOutcome:
    """What a suite found."""

    name: str
    rules: tuple[RuleOutcome, ...]

    @property
    def passed(self) -> bool:
        """Whether every rule of severity `error` holds."""
        return all(rule.passed for rule in self.rules if rule.severity == "error")

    def of_check(self, check: str) -> tuple[RuleOutcome, ...]:
        """The outcomes that are reported together under one check."""
        return tuple(rule for rule in self.rules if rule.check == check)


def validate(
    frame: pd.DataFrame, rules: Sequence[Rule], *, name: str, key: Sequence[str] = (), sample: int = 5
) -> ValidationOutcome:
    """Judge the rows of a frame.

    Args:
        frame: Rows with the columns of the rules and of the key; at most some 100,000 at a time.
        rules: What must hold.
        name: Name of the suite.
        key: Columns that name a row in a sample.
        sample: Most offending values that are kept per rule.

    Raises:
        DataError: a rule cannot be judged, such as one on a column that the frame lacks.
    """
    rows = frame.reset_index(drop=True)
    results = _results(rows, build_suite(name, rules), sample)
    outcomes = [_row_outcome(rule, results[place], rows, key, name) for place, rule in enumerate(rules)]
    return ValidationOutcome(name, tuple(outcomes))


def validate_facts(numbers: Sequence[float], facts: Sequence[Fact], *, name: str, total: int) -> ValidationOutcome:
    """Judge numbers that SQL counted over a whole table.

    One expectation reads all of them: each costs Great Expectations a twentieth of a second, whatever its frame.

    Args:
        numbers: What was counted, aligned with `facts`.
        facts: In which range each number must lie.
        name: Name of the suite.
        total: Rows of the table, for the record.
    """
    excess = [fact.excess(number) for fact, number in zip(facts, numbers, strict=True)]
    frame = pd.DataFrame({"fact": [f"{fact.check}: {fact.subject}" for fact in facts], "excess": excess})
    rule = Rule("facts_are_in_range", "excess", Between(0, 0), "Every number lies in the range that was promised.")
    result = _results(frame, build_suite(name, [rule]), len(facts))[0]
    in_range = _judged(result, rule, name)
    failed = set() if in_range else set(result.result["partial_unexpected_index_list"])
    outcomes = tuple(
        RuleOutcome(
            fact.check, fact.subject, fact.severity, fact.says, place not in failed, number, total,
            unit=fact.unit, limit=fact.limit,
        )
        for place, (fact, number) in enumerate(zip(facts, numbers, strict=True))
    )  # fmt: skip
    return ValidationOutcome(name, outcomes)


def shown(column: str, value: object) -> str:
    """A value as text that is safe in a log or an alert: short, and never a source's own user id."""
    text = str(value)
    if column == "user_id" and not re.fullmatch(PSEUDONYM, text):
        return f"(not a pseudonym, {len(text)} characters, withheld)"
    return text if len(text) <= _LONGEST_SAMPLE else f"{text[:_LONGEST_SAMPLE]}…"


def _results(frame: pd.DataFrame, suite: ExpectationSuite, sample: int) -> dict[int, ExpectationValidationResult]:
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    # Given whole: setting a variable of a finished context writes its YAML each time.
    configuration = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
        analytics_enabled=False,
    )
    context = gx.get_context(mode="ephemeral", project_config=configuration)
    asset = context.data_sources.add_pandas("frames").add_dataframe_asset("frame")
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch(batch_parameters={"dataframe": frame})
    # Without index columns: with them Great Expectations builds a dictionary per offending row, minutes for 500,000.
    result = batch.validate(suite, result_format={"result_format": "SUMMARY", "partial_unexpected_count": sample})
    return {_place(entry): entry for entry in result.results}


def _place(result: ExpectationValidationResult) -> int:
    configuration = result.expectation_config
    if configuration is None:
        raise DataError("Great Expectations returned a result that does not name its expectation")
    return int(configuration.meta["place"])


def _row_outcome(
    rule: Rule, result: ExpectationValidationResult, rows: pd.DataFrame, key: Sequence[str], name: str
) -> RuleOutcome:
    passed = _judged(result, rule, name)
    places = [] if passed else result.result.get("partial_unexpected_index_list", [])
    return RuleOutcome(
        check=rule.check,
        column=rule.column,
        severity=rule.severity,
        says=rule.says,
        passed=passed,
        unexpected=int(result.result.get("unexpected_count", 0)),
        total=int(result.result.get("element_count", len(rows))),
        sample=tuple(_row_sample(rule, rows.iloc[place], key) for place in places),
    )


def _row_sample(rule: Rule, row: pd.Series[Any], key: Sequence[str]) -> str:
    columns = [*key, rule.column]
    if isinstance(rule.condition, EqualsColumn):
        columns.append(rule.condition.other)
    return ", ".join(f"{column}={shown(column, row[column])}" for column in dict.fromkeys(columns))


def _judged(result: ExpectationValidationResult, rule: Rule, name: str) -> bool:
    """Whether the rule holds; a rule that could not be evaluated is an error of ours, not of the data."""
    information = result.exception_info or {}
    raised = [information] if "raised_exception" in information else list(information.values())
    for entry in raised:
        if entry.get("raised_exception"):
            raise DataError(
                f"suite {name!r} could not judge {rule.check!r} on column {rule.column!r}: "
                f"{entry.get('exception_message')}"
            )
    return bool(result.success)
