"""Reads from the lake what a contract asks for, and has it judged: the edge between DuckDB and the suites."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import duckdb

from assets.lake import Lake
from models.errors import LakeError
from quality.contracts import Contract, Fact
from quality.validation import RuleOutcome, ValidationOutcome, shown, validate, validate_facts


def audit_table(lake: Lake, contract: Contract, *, sample: int = 5) -> ValidationOutcome:
    """Judge a table by its contract, all of it as of one snapshot.

    Args:
        lake: Where the table is.
        contract: What it promises.
        sample: Most offending values that are kept per rule.

    Raises:
        LakeError: the table, or one that it is compared with, does not exist yet.
    """
    with lake.connect() as connection:
        connection.begin()  # all queries of one transaction see one snapshot
        outcome = audit(connection, contract, sample=sample)
        connection.rollback()
    return outcome


def audit(connection: duckdb.DuckDBPyConnection, contract: Contract, *, sample: int = 5) -> ValidationOutcome:
    """Judge a table over an open connection whose default database is called `lake`.

    Facts count the whole table in SQL; the rules read the contract's rows, so memory stays bounded.

    Raises:
        LakeError: the table, or one that it is compared with, does not exist yet.
    """
    try:
        outcomes = _judge_facts(connection, contract, sample) if contract.facts else ()
        if contract.rules:
            frame = connection.execute(contract.rows).df()
            name = f"{contract.table.qualified_name} rows"
            outcomes += validate(frame, contract.rules, name=name, key=contract.key, sample=sample).rules
    except duckdb.CatalogException as error:
        raise LakeError(
            f"cannot check {contract.table.qualified_name}: {str(error).splitlines()[0]} "
            f"Materialise {contract.asset} and what it depends on first."
        ) from error
    return ValidationOutcome(contract.table.qualified_name, outcomes)


def _judge_facts(connection: duckdb.DuckDBPyConnection, contract: Contract, sample: int) -> tuple[RuleOutcome, ...]:
    name = contract.table.qualified_name
    queries = [f"SELECT count(*) FROM {name}", *(fact.sql for fact in contract.facts)]
    total, *counted = _numbers(connection, queries)
    outcome = validate_facts(counted, contract.facts, name=f"{name} facts", total=int(total))
    return tuple(
        judged if judged.passed else replace(judged, sample=_sample(connection, fact, sample))
        for judged, fact in zip(outcome.rules, contract.facts, strict=True)
    )


def _numbers(connection: duckdb.DuckDBPyConnection, queries: Sequence[str]) -> list[float]:
    """Run queries of one number each as one statement; DuckDB shares their scans and runs them in parallel."""
    row: tuple[Any, ...] = connection.execute(f"SELECT {', '.join(f'({query})' for query in queries)}").fetchall()[0]
    return [0.0 if number is None else float(number) for number in row]


def _sample(connection: duckdb.DuckDBPyConnection, fact: Fact, sample: int) -> tuple[str, ...]:
    if not fact.sample:
        return ()
    rows = connection.execute(f"SELECT * FROM ({fact.sample}) LIMIT {sample}").fetchall()
    return tuple(shown(fact.subject, value) for (value, *_) in rows)
