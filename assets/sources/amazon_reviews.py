"""Amazon product reviews: a folder with `interactions.parquet` and `items.parquet`.

Times have the resolution of a day, so the order of a user's reviews within a day comes from the source. Texts stay
as they are, HTML entities included; the warehouse decodes them.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import orjson
import pyarrow as pa

from assets.landing_reader import read_tables
from assets.landing_zone import LandingZone
from assets.sources.loading import LoadResult, json_objects, require_files
from models.errors import ConfigurationError

TieOrder = Literal["position", "p5_position"]

_TIE_ORDERS = ("position", "p5_position")


def load(source: Path, landing: LandingZone, *, tie_order: TieOrder = "position") -> LoadResult:
    """Land the reviews as events and the products as items.

    Args:
        source: Folder with the two files.
        landing: Where to.
        tie_order: Which of the source's two orders within a user becomes `source_order`; `p5_position` is the one
            that published leave-one-out results use. It is no part of an event's identity, so a lake that has the
            events keeps the order that it got first.

    Raises:
        ConfigurationError: no such tie order.
        SourceError: a file or a column is missing.
    """
    if tie_order not in _TIE_ORDERS:
        raise ConfigurationError(f"tie order {tie_order!r} is unknown; choose one of {', '.join(_TIE_ORDERS)}")
    interactions, items = require_files(source, ["interactions.parquet", "items.parquet"], "amazon-reviews")
    return LoadResult.of(
        {
            "events": landing.publish("events", f"amazon-reviews.{tie_order}", _events(interactions, tie_order)),
            "items": landing.publish("items", "amazon-reviews", _items(items)),
        }
    )


def parse_quoted_path(text: str | None) -> list[str] | None:
    r"""Read a path such as `'Beauty', 'Hair Care', "Women's"` as a list, widest first."""
    if text is None:
        return None
    parts: list[str] = []
    rest = text.strip()
    while rest:
        quote = rest[0] if rest[0] in "'\"" else ""
        end = rest.find(quote, 1) if quote else -1
        if end < 0:
            # No quote, or one that is never closed: what is left is a plain list.
            return parts + [part.strip() for part in next(csv.reader([rest])) if part.strip()]
        parts.append(rest[1:end])
        rest = rest[end + 1 :].lstrip(", ")
    return parts


def _events(path: Path, tie_order: str) -> Iterator[pa.Table]:
    for table in read_tables(path, required=("user_id", "item_id", "event_time", "event_type", tie_order)):
        yield pa.table(
            {
                "user_id": table.column("user_id"),
                "item_id": table.column("item_id"),
                "event_type": table.column("event_type"),
                "event_at": table.column("event_time"),
                "source_order": table.column(tie_order),
            }
        )


def _items(path: Path) -> Iterator[pa.Table]:
    required = ("item_id", "title", "brand", "categories", "price", "sales_rank_category", "sales_rank")
    for table in read_tables(path, required=required):
        paths = (parse_quoted_path(text) for text in table.column("categories").to_pylist())
        ranks = {name: table.column(name).to_pylist() for name in ("sales_rank_category", "sales_rank")}
        yield pa.table(
            {
                "item_id": table.column("item_id"),
                "title": table.column("title"),
                "brand_or_author": table.column("brand"),
                "categories": pa.array([None if parts is None else orjson.dumps(parts).decode() for parts in paths]),
                "price": table.column("price"),
                "currency": pa.array(
                    [None if price is None else "USD" for price in table.column("price").to_pylist()], pa.string()
                ),
                "attributes": json_objects(ranks, table.num_rows),
            }
        )
