"""Rows are divided, hashed by content and made pseudonymous."""

from datetime import datetime

import pyarrow as pa

from assets.pseudonyms import pseudonymise
from assets.row_staging import StagedRows, stage_rows
from quality.row_rules import RuleContext

CONTEXT = RuleContext(datetime(2024, 6, 1), frozenset({"view"}))


def stage(**columns: list[str | None]) -> StagedRows:
    rows = len(next(iter(columns.values())))
    given = {"user_id": ["u"] * rows, "item_id": ["i"] * rows, "event_type": ["view"] * rows, **columns}
    return stage_rows("events", pa.table(given), CONTEXT, first_row=11, key="k")


def test_each_row_is_in_exactly_one_table_with_its_number() -> None:
    staged = stage(event_at=["2024-05-01", "soon", "2024-05-01", None])

    assert staged.accepted.column("source_row").to_pylist() == [11, 13]
    assert staged.quarantined.column("source_row").to_pylist() == [12, 14]
    assert staged.quarantined.column("rule").to_pylist() == ["unparsable_time", "missing_event_at"]


def test_equal_content_has_one_id_whatever_its_spelling() -> None:
    staged = stage(
        event_at=["2024-05-01T10:00:00Z", "1714557600", "2024-05-01T12:00:00+02:00"],
        value=["2", "2.0", "2e0"],
        attributes=['{"a": 1, "b": 2}', '{"b":2,"a":1}', ' {"a":1,"b":2}'],
        source_order=["1", "2", "3"],
    )

    assert len(set(staged.accepted.column("event_id").to_pylist())) == 1


def test_any_other_content_has_another_id() -> None:
    staged = stage(
        event_at=["2024-05-01", "2024-05-02", "2024-05-01", "2024-05-01", "2024-05-01"],
        value=["1", "1", "2", None, "1"],
        query=[None, None, None, None, "1"],
    )

    assert len(set(staged.accepted.column("event_id").to_pylist())) == 5


def test_user_ids_are_pseudonyms_on_both_sides() -> None:
    staged = stage(event_at=["2024-05-01", "soon"])

    assert staged.accepted.column("user_id").to_pylist() == [pseudonymise("u", "k")]
    assert pseudonymise("u", "k") in staged.quarantined.column("payload").to_pylist()[0]
