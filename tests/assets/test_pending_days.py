"""Rows of a day add up, whoever appended them."""

from datetime import date

from assets.lake import Lake
from assets.pending_days import add_up, mark_pending, pending_days, settle_pending_days

FIRST, SECOND, THIRD = (date(2026, 1, day) for day in (1, 2, 3))


def _mark(lake: Lake, added: dict[date, int]) -> None:
    lake.write(lambda connection: mark_pending(connection, added), message="mark")


def _rows(lake: Lake) -> int:
    return int(lake.frame("SELECT count(*) AS n FROM ops.pending_days")["n"].item())


def test_rows_of_a_day_add_up(lake: Lake) -> None:
    _mark(lake, {FIRST: 2, SECOND: 1})
    _mark(lake, {SECOND: 4})
    assert pending_days(lake) == {FIRST: 2, SECOND: 5}
    assert _rows(lake) == 3
    lake.write(add_up, message="add up")
    assert pending_days(lake) == {FIRST: 2, SECOND: 5}
    assert _rows(lake) == 2


def test_what_came_during_a_build_stays(lake: Lake) -> None:
    _mark(lake, {FIRST: 2, SECOND: 1})
    _mark(lake, {SECOND: 1})
    built = pending_days(lake)
    _mark(lake, {SECOND: 3, THIRD: 1})
    settle_pending_days(lake, built)
    assert pending_days(lake) == {SECOND: 3, THIRD: 1}
