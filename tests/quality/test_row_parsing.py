"""Times, numbers and documents from text."""

from datetime import datetime

import pandas as pd
import pytest

from quality.row_parsing import canonical_json_object, parse_category_path, parse_rows, parse_times


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-01T10:00:00Z", datetime(2024, 5, 1, 10)),
        ("2024-05-01T10:00:00+02:00", datetime(2024, 5, 1, 8)),
        ("2024-05-01 10:00:00.123456789", datetime(2024, 5, 1, 10, 0, 0, 123456)),
        ("2024-05-01", datetime(2024, 5, 1)),
        ("9999-12-31T00:00:00Z", datetime(9999, 12, 31)),
        ("1714557600", datetime(2024, 5, 1, 10)),
        ("1714557600.5", datetime(2024, 5, 1, 10, 0, 0, 500000)),
        ("1714557600123", datetime(2024, 5, 1, 10, 0, 0, 123000)),
        ("0", None),  # an empty time written as zero
        ("20240501", None),  # a date without dashes, not a moment of 1970
        ("01/05/2024", None),
        ("2024", None),
        ("now", None),
        ("nan", None),
        ("2024-13-01", None),
    ],
)
def test_times_of_one_format(text: str, expected: datetime | None) -> None:
    parsed = parse_times(pd.Series([text], dtype="str"))[0]

    assert (None if pd.isna(parsed) else parsed.to_pydatetime()) == expected


def test_formats_of_time_may_be_mixed_in_a_column() -> None:
    texts = ["2024-05-01 10:00:00.1234567", "1714557600", None, "9999-12-31", "soon"]

    parsed = parse_times(pd.Series(texts, dtype="str"))

    assert parsed.dtype == "datetime64[us]"
    assert [None if pd.isna(value) else value.year for value in parsed] == [2024, 2024, None, 9999, None]


def test_category_paths() -> None:
    assert parse_category_path('["Home", "Garden > Outdoor"]') == ["Home", "Garden > Outdoor"]
    assert parse_category_path("Home > Garden >  Pots ") == ["Home", "Garden", "Pots"]
    assert parse_category_path('["Home"') is None
    assert parse_category_path("[1, 2]") is None


def test_attributes_become_canonical() -> None:
    assert canonical_json_object('{"b": 1,  "a": [2]}') == '{"a":[2],"b":1}'
    assert canonical_json_object("[1]") is None
    assert canonical_json_object("{") is None


def test_blank_cells_are_missing_and_absent_columns_are_empty() -> None:
    cells = pd.DataFrame({"user_id": [" u1 ", "  "], "other": ["x", "y"]})

    rows = parse_rows("users", cells)

    assert rows.text["user_id"].fillna("missing").tolist() == ["u1", "missing"]
    assert rows.text["region"].isna().all()
    assert "other" not in rows.text


def test_parsing_leaves_its_input_alone() -> None:
    cells = pd.DataFrame({"item_id": [" i1 "], "price": ["x"]})
    before = cells.copy()

    parse_rows("items", cells)

    pd.testing.assert_frame_equal(cells, before)
