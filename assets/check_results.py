"""From the outcome of a suite to the result that people read in the Dagster UI."""

from dagster import AssetCheckResult, AssetCheckSeverity, MetadataValue

from quality.contracts import Contract
from quality.validation import RuleOutcome, ValidationOutcome

COUNT = "unexpected"
"""Metadata entry with the number of offending rows; alerts read it."""

UNIT = "unit"
"""Metadata entry with what that number counts, such as `rows` or `hours`; alerts read it."""

SAMPLE = "sample"
"""Metadata entry with a few offending values; alerts read it."""

NEXT_STEP = "what_must_hold"
"""Metadata entry with the rule as a sentence; alerts read it."""


def check_result(contract: Contract, check: str, outcome: ValidationOutcome) -> AssetCheckResult:
    """Result of one check, with its rules as a table.

    A check of warnings and errors blocks only if one of its errors failed.
    """
    rules = outcome.of_check(check)
    failed = [rule for rule in rules if not rule.passed]
    is_error = any(rule.severity == "error" for rule in failed)
    return AssetCheckResult(
        asset_key=contract.asset,
        check_name=check,
        passed=not failed,
        severity=AssetCheckSeverity.ERROR if is_error else AssetCheckSeverity.WARN,
        description=_sentence(rules, failed),
        metadata={
            "table": contract.table.qualified_name,
            "boundary": contract.boundary,
            COUNT: sum(_rounded(rule.unexpected) for rule in failed),
            UNIT: _common_unit(failed),
            "rows_read": max((rule.total for rule in rules), default=0),
            "rules": MetadataValue.md(rules_table(rules)),
            SAMPLE: MetadataValue.json([text for rule in failed for text in rule.sample]),
            NEXT_STEP: contract.describe(check),
        },
    )


def rules_table(rules: tuple[RuleOutcome, ...]) -> str:
    """The rules of a check as a Markdown table."""
    lines = ["| | column | found | of | severity | sample |", "|---|---|---:|---:|---|---|"]
    for rule in rules:
        cells = (
            "✓" if rule.passed else "✗",
            rule.column,
            f"{_rounded(rule.unexpected):,} {rule.unit}".rstrip(),
            rule.limit if rule.unit else f"{rule.total:,}",
            rule.severity,
            "; ".join(rule.sample),
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines)


def _sentence(rules: tuple[RuleOutcome, ...], failed: list[RuleOutcome]) -> str:
    if not failed:
        return f"holds for {max((rule.total for rule in rules), default=0):,} rows"
    return f"{', '.join(_found(rule) for rule in failed)}. {failed[0].says}"


def _found(rule: RuleOutcome) -> str:
    number = f"{_rounded(rule.unexpected):,}"
    if not rule.unit:
        return f"{rule.column}: {number} of {rule.total:,} rows"
    return f"{number} {rule.unit}" + (f", expected {rule.limit}" if rule.limit else "")


def _common_unit(failed: list[RuleOutcome]) -> str:
    """What the offending numbers count; `found` where they count different things."""
    units = {rule.unit or "rows" for rule in failed} or {"rows"}
    return units.pop() if len(units) == 1 else "found"


def _rounded(number: float) -> float | int:
    return int(number) if float(number).is_integer() else round(number, 2)
