"""Broken text rows cost themselves only."""

import io

import pytest

from assets.landing_text import TextLines, csv_tables, json_tables, read_csv_records
from models.errors import UnreadableFileError


def lines_of(text: str) -> TextLines:
    return TextLines(io.BytesIO(text.encode()), "events.csv", "utf-8")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\nc,d\n", [["a", "b"], ["c", "d"]]),
        ('"a\nx",b\nc,d', [["a\nx", "b"], ["c", "d"]]),  # a line break inside quotes
        ('12" record,b\nc,d\n', [['12" record', "b"], ["c", "d"]]),  # a quote inside an unquoted cell
        ("a,b\n\nc,d\n", [["a", "b"], ["c", "d"]]),  # an empty line is no row
        ("a\nc,d\n", ["has 1 cells where the header has 2", ["c", "d"]]),
        ("a,b,x\nc,d\n", ["has 3 cells where the header has 2", ["c", "d"]]),
    ],
)
def test_csv_records(text: str, expected: list[object]) -> None:
    assert list(read_csv_records(lines_of(text), ",", 2)) == expected


def test_a_quote_that_is_never_closed_costs_one_row() -> None:
    records = list(read_csv_records(lines_of('a,b\n"c,d\ne,f\ng,h\n'), ",", 2))

    assert records[0] == ["a", "b"]
    assert isinstance(records[1], str)
    assert records[2:] == [["e", "f"], ["g", "h"]]


def test_csv_table_says_which_row_is_broken() -> None:
    (table,) = csv_tables(lines_of("a,b\nc\n"), ",", ["x", "y"])

    assert table.column("x").to_pylist() == ["a", None]
    assert table.column("row_error").to_pylist() == [None, "has 1 cells where the header has 2"]


def test_json_tables_keep_nested_values_as_json_and_broken_lines_as_rows() -> None:
    text = '{"user_id": 17, "tags": ["a"]}\n{"user_id": NaN}\n\n[1]\n{"user_id": "u2", "late_key": 1.5}\n'

    (table,) = json_tables(lines_of(text))

    assert table.column("user_id").to_pylist() == ["17", None, None, "u2"]
    assert table.column("tags").to_pylist() == ['["a"]', None, None, None]
    assert table.column("late_key").to_pylist() == [None, None, None, "1.5"]
    errors = table.column("row_error").to_pylist()
    assert errors[0] is None
    assert errors[1].startswith("not valid JSON")
    assert errors[2] == "a JSON list instead of an object"


def test_a_wrong_encoding_is_named_with_its_byte_and_remedy() -> None:
    lines = TextLines(io.BytesIO("ab\ncafé\n".encode("cp1252")), "menu.csv", "utf-8")

    with pytest.raises(UnreadableFileError, match=r"menu\.csv: byte 6 \(0xe9\) is not UTF-8.*--encoding cp1252"):
        list(lines)


def test_a_byte_order_mark_is_no_part_of_the_first_cell() -> None:
    assert next(TextLines(io.BytesIO(b"\xef\xbb\xbfuser_id\n"), "x.csv", "utf-8")) == "user_id\n"
