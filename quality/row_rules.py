"""Row rules: what a landing row must satisfy to enter the lake, as data.

Rules are tried in order and the first that a row breaks decides; the order runs from "cannot be read at all" to
single cells, so that the named rule is the root cause. Rules look at one row at a time: duplicates are a matter
of the lake, not of a row.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from quality.landing_columns import LANDING_COLUMNS, REQUIRED_COLUMNS, ROW_ERROR, TIME_COLUMNS, Kind
from quality.row_parsing import ParsedRows

MAX_CELL_CHARACTERS = 100_000
"""A longer cell is taken for a broken row."""

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far the clock of a source may be ahead of ours."""

EARLIEST_TIME = datetime(1990, 1, 1)
"""Nothing was recommended before; such a time is an empty one written as zero."""

QUANTITY_TYPES = frozenset({"cart", "purchase", "cancel"})
"""Event types whose `value` counts units, which must be above zero."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RowRule:
    """One rule: `is_broken` answers for all rows at once."""

    name: str
    column: str
    message: str
    is_broken: Callable[[ParsedRows], Mask]


@dataclass(frozen=True)
class RuleContext:
    """What the rules compare rows with."""

    as_of: datetime
    """Moment of reception, UTC without a zone; later events lie in the future."""

    event_types: frozenset[str]
    """Event types that the domain knows."""

    item_id_pattern: str = ""
    """Regular expression that an item id matches in full; empty for any."""


def row_rules(kind: Kind, context: RuleContext) -> tuple[RowRule, ...]:
    """The rules for one kind of rows, in the order in which they are tried."""
    return (
        RowRule(ROW_ERROR, "", "the row could not be split into cells", _is_present(ROW_ERROR)),
        *(
            RowRule("cell_too_long", name, f"a cell has over {MAX_CELL_CHARACTERS:,} characters", _is_too_long(name))
            for name in LANDING_COLUMNS[kind]
        ),
        *(RowRule(f"missing_{name}", name, f"{name} is empty", _is_missing(name)) for name in REQUIRED_COLUMNS[kind]),
        *(rule for name in TIME_COLUMNS[kind] for rule in _time_rules(name, context)),
        *(_item_id_rules(context) if "item_id" in LANDING_COLUMNS[kind] else ()),
        *_OWN_RULES[kind](context),
        RowRule("attributes_not_json", "attributes", "attributes is no JSON object", _is_no_document("attributes")),
    )


def first_broken(rows: ParsedRows, rules: Sequence[RowRule]) -> npt.NDArray[np.int64]:
    """Index of the first rule that each row breaks, -1 for a sound row; shape (rows,)."""
    first = np.full(len(rows.text), -1, dtype=np.int64)
    for index, rule in enumerate(rules):
        first[(first < 0) & rule.is_broken(rows)] = index
    return first


def _time_rules(name: str, context: RuleContext) -> tuple[RowRule, ...]:
    latest = context.as_of + CLOCK_TOLERANCE
    rules = [
        RowRule(
            "unparsable_time",
            name,
            f"{name} is neither ISO 8601 nor Unix seconds or milliseconds",
            lambda rows: _both(rows.text[name].notna(), rows.times[name].isna()),
        )
    ]
    if name in ("event_at", "updated_at"):
        rules += [
            RowRule(
                "time_too_old", name, f"{name} is before 1990", lambda rows: _mask(rows.times[name] < EARLIEST_TIME)
            ),
            RowRule("future_time", name, f"{name} is later than now", lambda rows: _mask(rows.times[name] > latest)),
        ]
    return tuple(rules)


def _item_id_rules(context: RuleContext) -> tuple[RowRule, ...]:
    if not context.item_id_pattern:
        return ()
    pattern = re.compile(context.item_id_pattern)

    def mismatches(rows: ParsedRows) -> Mask:
        ids = rows.text["item_id"]
        wrong = [value for value in ids.dropna().unique() if not pattern.fullmatch(value)]
        return _mask(ids.isin(wrong))

    return (RowRule("item_id_mismatch", "item_id", "item_id does not match the domain's item_id_pattern", mismatches),)


def _number_rules(name: str) -> tuple[RowRule, ...]:
    spelled = r"(?i)[+-]?(?:nan|inf(?:inity)?)"

    def is_not_finite(rows: ParsedRows) -> Mask:
        return _mask(rows.text[name].str.fullmatch(spelled).fillna(False)) | _mask(np.isinf(rows.numbers[name]))

    return (
        RowRule(f"{name}_not_finite", name, f"{name} is NaN or infinite", is_not_finite),
        RowRule(
            f"{name}_not_a_number",
            name,
            f"{name} is no number",
            lambda rows: _both(rows.text[name].notna(), rows.numbers[name].isna()),
        ),
    )


def _event_rules(context: RuleContext) -> tuple[RowRule, ...]:
    return (
        RowRule(
            "unknown_event_type",
            "event_type",
            "event_type is not among the domain's event_weights",
            lambda rows: _mask(~rows.text["event_type"].isin(list(context.event_types))),
        ),
        *_number_rules("value"),
        RowRule(
            "quantity_not_positive",
            "value",
            f"value must be above 0 for {', '.join(sorted(QUANTITY_TYPES))}",
            lambda rows: _both(rows.text["event_type"].isin(list(QUANTITY_TYPES)), rows.numbers["value"] <= 0),
        ),
        RowRule("source_order_not_an_integer", "source_order", "source_order is no integer", _is_no_integer),
    )


def _item_rules(context: RuleContext) -> tuple[RowRule, ...]:
    return (
        *_number_rules("price"),
        RowRule("price_negative", "price", "price is below 0", lambda rows: _mask(rows.numbers["price"] < 0)),
        RowRule(
            "availability_reversed",
            "available_until",
            "available_until is before available_from",
            lambda rows: _mask(rows.times["available_until"] < rows.times["available_from"]),
        ),
        RowRule(
            "categories_unreadable",
            "categories",
            "categories is neither a JSON list of texts nor a path like `a > b`",
            _is_no_document("categories"),
        ),
    )


def _user_rules(context: RuleContext) -> tuple[RowRule, ...]:
    return ()


_OWN_RULES: dict[Kind, Callable[[RuleContext], tuple[RowRule, ...]]] = {
    "events": _event_rules,
    "items": _item_rules,
    "users": _user_rules,
}


def _is_present(name: str) -> Callable[[ParsedRows], Mask]:
    return lambda rows: _mask(rows.text[name].notna())


def _is_missing(name: str) -> Callable[[ParsedRows], Mask]:
    return lambda rows: _mask(rows.text[name].isna())


def _is_too_long(name: str) -> Callable[[ParsedRows], Mask]:
    return lambda rows: _mask(rows.text[name].str.len() > MAX_CELL_CHARACTERS)


def _is_no_document(name: str) -> Callable[[ParsedRows], Mask]:
    return lambda rows: _both(rows.text[name].notna(), rows.documents[name].isna())


def _is_no_integer(rows: ParsedRows) -> Mask:
    order = rows.numbers["source_order"]
    is_integer = (order == np.floor(order)) & (order.abs() < 2**53)
    return _both(rows.text["source_order"].notna(), ~is_integer)


def _both(left: "pd.Series[Any]", right: "pd.Series[Any]") -> Mask:
    return _mask(left) & _mask(right)


def _mask(values: "pd.Series[Any]") -> Mask:
    return np.asarray(values, dtype=bool)
