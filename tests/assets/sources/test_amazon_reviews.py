"""Amazon reviews as events and items."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from assets.landing_zone import LandingZone
from assets.sources.amazon_reviews import load, parse_quoted_path
from models.errors import ConfigurationError, SourceError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "beauty"
    folder.mkdir()
    reviews = {
        "user_id": ["A1", "A1"],
        "item_id": ["B1", "B2"],
        "event_time": pd.to_datetime(["2011-10-18", "2011-10-18"], utc=True),
        "event_type": ["review"] * 2,
        "position": [0, 1],
        "p5_position": [1, 0],
    }
    pd.DataFrame(reviews).to_parquet(folder / "interactions.parquet")
    items = {
        "item_id": ["B1", "B2"],
        "title": ["Soap &amp; Water", None],
        "brand": ["COKA", None],
        "categories": ["'Beauty', \"Women's\"", None],
        "price": [5.04, None],
        "sales_rank_category": ["Beauty", None],
        "sales_rank": [10.0, None],
    }
    pd.DataFrame(items).to_parquet(folder / "items.parquet")
    return folder


@pytest.mark.parametrize(("tie_order", "expected"), [("position", ["0", "1"]), ("p5_position", ["1", "0"])])
def test_the_tie_order_becomes_the_source_order(
    source: Path, tmp_path: Path, tie_order: str, expected: list[str]
) -> None:
    zone = LandingZone(tmp_path / "landing")

    assert load(source, zone, tie_order=tie_order).rows == {"events": 2, "items": 2}  # type: ignore[arg-type]
    (path,) = zone.candidates("events")
    assert pq.read_table(path).column("source_order").to_pylist() == expected


def test_items_keep_their_text_raw(source: Path, tmp_path: Path) -> None:
    zone = LandingZone(tmp_path / "landing")
    load(source, zone)

    full, empty = pq.read_table(zone.candidates("items")[0]).to_pylist()

    assert (full["title"], full["categories"]) == ("Soap &amp; Water", '["Beauty","Women\'s"]')
    assert (full["price"], full["currency"]) == ("5.04", "USD")
    assert (empty["title"], empty["currency"], empty["attributes"]) == (None, None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'Beauty', 'Creams, Gels & Lotions', \"Women's\"", ["Beauty", "Creams, Gels & Lotions", "Women's"]),
        ("Beauty, Hair", ["Beauty", "Hair"]),
        ("'Beauty', 'Hair", ["Beauty", "'Hair"]),
        (None, None),
    ],
)
def test_category_paths(text: str | None, expected: list[str] | None) -> None:
    assert parse_quoted_path(text) == expected


def test_wrong_options_and_missing_files_are_named(source: Path, tmp_path: Path) -> None:
    zone = LandingZone(tmp_path / "landing")
    with pytest.raises(ConfigurationError, match="p5_position"):
        load(source, zone, tie_order="random")  # type: ignore[arg-type]
    (source / "items.parquet").unlink()
    with pytest.raises(SourceError, match=r"items\.parquet is not there"):
        load(source, zone)
