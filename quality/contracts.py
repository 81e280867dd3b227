"""What a table promises, as data: the rules that a contract is made of, and those that follow from a schema.

A rule judges either rows (a window of the table, or one audit row per list or vector) or facts. A fact is a number
that SQL counts over the whole table, however large, so that uniqueness and coverage are exact in bounded memory.
SQL here is text only: whoever holds a connection runs it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from models.schema import Table

Severity = Literal["error", "warning"]
Boundary = Literal["raw", "marts", "features", "embeddings", "top_k"]

PSEUDONYM = "[0-9a-f]{32}"
"""What a pseudonymised user id looks like, in full."""

ROW_WINDOW = 100_000
"""Most rows of a large table that row rules read: the newest ones. Facts always count the whole table."""


@dataclass(frozen=True)
class NotNull:
    """Values are present."""


@dataclass(frozen=True)
class Between:
    """Numbers lie in a closed range; a missing value passes."""

    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class InSet:
    """Values are among the allowed ones; a missing value passes."""

    allowed: tuple[str, ...]


@dataclass(frozen=True)
class Matches:
    """Texts match a regular expression; a missing value passes."""

    pattern: str


@dataclass(frozen=True)
class EqualsColumn:
    """Values equal those of another column of the same row."""

    other: str


Condition = NotNull | Between | InSet | Matches | EqualsColumn


@dataclass(frozen=True)
class Rule:
    """One condition on one column of the audited rows."""

    check: str
    """The truth it asserts, such as `weights_are_positive`; rules with the same check are reported together."""

    column: str
    condition: Condition
    says: str
    """One sentence for a person: what must hold, and what to do where it does not."""

    severity: Severity = "error"


@dataclass(frozen=True)
class Fact:
    """A number counted over the whole table, with the range it must lie in."""

    check: str
    subject: str
    """Column or thing that is counted; unique within the check."""

    sql: str
    """A SELECT of one number; null counts as 0."""

    says: str
    sample: str = ""
    """A SELECT of offending values as one text column, run only where the fact is out of range."""

    minimum: float | None = 0
    maximum: float | None = 0
    severity: Severity = "error"
    unit: str = ""
    """What the number counts or measures, such as `hours`; empty: rows of the table."""

    @property
    def limit(self) -> str:
        """The end of the range that a number other than 0 is judged by, as words; empty where 0 is all that passes."""
        if self.maximum:
            return f"at most {self.maximum:g}"
        return f"at least {self.minimum:g}" if self.minimum else ""

    def excess(self, number: float) -> float:
        """How far a number lies outside the range, 0 within it."""
        below = 0.0 if self.minimum is None else self.minimum - number
        above = 0.0 if self.maximum is None else number - self.maximum
        return max(below, above, 0.0)


@dataclass(frozen=True)
class Contract:
    """All that a table promises to its readers."""

    asset: str
    """Asset key whose materialisation the contract is checked after."""

    table: Table
    boundary: Boundary
    facts: tuple[Fact, ...]
    rules: tuple[Rule, ...] = ()
    rows: str = ""
    """A SELECT of the rows that the rules read; holds the columns of the rules and of the key."""

    key: tuple[str, ...] = ()
    """Columns of `rows` that name a row in a sample."""

    @property
    def _parts(self) -> tuple[Rule | Fact, ...]:
        return (*self.rules, *self.facts)

    @property
    def checks(self) -> dict[str, Severity]:
        """Severity by check: that of its gravest rule."""
        severities: dict[str, Severity] = {}
        for rule in self._parts:
            if rule.severity == "error" or rule.check not in severities:
                severities[rule.check] = rule.severity
        return severities

    def describe(self, check: str) -> str:
        """The sentences of a check's rules, each once."""
        said = [rule.says for rule in self._parts if rule.check == check]
        return " ".join(dict.fromkeys(said))


def schema_facts(table: Table, *, unique_check: str) -> tuple[Fact, ...]:
    """The facts that follow from a table's schema: columns, types, required values, key, pseudonyms."""
    facts = [_columns_fact(table), *_required_facts(table), _key_fact(table, unique_check)]
    if "user_id" in table.column_names:
        facts.append(_pseudonym_fact(table))
    return tuple(facts)


def count_where(table: str, predicate: str) -> str:
    """SQL that counts the rows of a table for which a predicate holds."""
    return f"SELECT count(*) FROM {table} WHERE {predicate}"


def violation(
    table: Table, check: str, predicate: str, says: str, *, shows: str = "", severity: Severity = "error"
) -> Fact:
    """A fact: no row of the table satisfies `predicate`.

    Args:
        table: Table that is counted whole.
        check: The truth that is asserted.
        predicate: SQL condition of an offending row.
        says: One sentence for a person.
        shows: SQL expression to show of an offending row; the first key column where empty.
        severity: Whether a violation blocks what comes after.
    """
    shown = shows or table.key[0]
    sample = f"SELECT DISTINCT CAST({shown} AS VARCHAR) FROM {table.qualified_name} WHERE {predicate}"
    return Fact(check, table.name, count_where(table.qualified_name, predicate), says, sample=sample, severity=severity)


def newest_rows(table: Table, columns: Iterable[str], *, newest: str = "") -> str:
    """SQL for the newest rows of a table, at most `ROW_WINDOW`; any rows where no column says what is new."""
    order = f" ORDER BY {newest} DESC NULLS LAST" if newest else ""
    return f"SELECT {', '.join(columns)} FROM {table.qualified_name}{order} LIMIT {ROW_WINDOW}"


def rows_exist(table: Table, says: str) -> Fact:
    """A warning where a table is empty."""
    return Fact(
        "rows_exist", table.name, f"SELECT count(*) FROM {table.qualified_name}", says, minimum=1, maximum=None,
        severity="warning", unit="rows",
    )  # fmt: skip


def _columns_fact(table: Table) -> Fact:
    declared = ", ".join(f"('{column.name}', '{column.type}')" for column in table.columns)
    actual = (
        "SELECT column_name, replace(data_type, '\"', '') FROM information_schema.columns "
        f"WHERE table_catalog = 'lake' AND table_schema = '{table.schema}' AND table_name = '{table.name}'"
    )
    absent = f"SELECT * FROM (VALUES {declared}) AS declared(name, type) EXCEPT ({actual})"
    return Fact(
        "columns_match_the_contract",
        table.name,
        f"SELECT count(*) FROM ({absent})",
        f"{table.qualified_name} has every declared column with its declared type; "
        "a change of type is a new version of the contract.",
        sample=f"SELECT name || ' ' || type FROM ({absent})",
        unit="columns",
    )


def _required_facts(table: Table) -> list[Fact]:
    return [
        Fact(
            "required_columns_are_filled",
            column.name,
            count_where(table.qualified_name, f"{column.name} IS NULL"),
            "No required column has a missing value.",
        )
        for column in table.columns
        if column.is_required
    ]


def _key_fact(table: Table, check: str) -> Fact:
    key = ", ".join(table.key)
    # The subject says what the sample shows, so that a user id in it is recognised and masked.
    subject = "user_id" if "user_id" in table.key else "_".join(table.key)
    shown = subject if subject in table.key else " || ' / ' || ".join(f"CAST({name} AS VARCHAR)" for name in table.key)
    return Fact(
        check,
        subject,
        f"SELECT count(*) - count(DISTINCT ({key})) FROM {table.qualified_name}",
        f"{table.qualified_name} has {table.grain}: ({key}) never repeats.",
        sample=f"SELECT {shown} FROM {table.qualified_name} GROUP BY {key} HAVING count(*) > 1",
    )


def _pseudonym_fact(table: Table) -> Fact:
    predicate = f"NOT regexp_full_match(user_id, '{PSEUDONYM}')"
    return Fact(
        "no_source_user_id_appears",
        "user_id",
        count_where(table.qualified_name, predicate),
        "Every user id is a pseudonym of 32 hexadecimal digits; a source's own id must never enter the lake. "
        "Delete such rows and load them again through the landing zone.",
        sample=f"SELECT user_id FROM {table.qualified_name} WHERE {predicate}",
    )
