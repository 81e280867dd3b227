"""UCI Online Retail: invoice lines of a wholesaler, uncleaned, as Parquet or CSV with the source's column names.

Every line becomes one event. Its dirt is left for the row rules: no customer, no product code, a quantity below
one. A line of a cancelled invoice (its number starts with C) becomes a `cancel` of as many units. Times have no
zone in the source and are taken as UTC. Items and users are gathered from the lines.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from assets.landing_reader import read_tables
from assets.landing_zone import LandingZone
from assets.sources.loading import LoadResult
from models.errors import SourceError
from quality.landing_columns import ROW_ERROR

COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)


def load(source: Path, landing: LandingZone) -> LoadResult:
    """Land the invoice lines as events, the stock codes as items and the customers as users.

    Args:
        source: The file, or a folder with `interactions.parquet`.
        landing: Where to.

    Raises:
        SourceError: the file or a column is missing.
    """
    path = source / "interactions.parquet" if source.is_dir() else source
    if not path.is_file():
        raise SourceError(f"{path}: no such file; give the file with the invoice lines")
    gathered = _Gathered()
    events = landing.publish("events", "online-retail", _events(path, gathered))
    items = landing.publish("items", "online-retail", [gathered.items()])
    users = landing.publish("users", "online-retail", [gathered.users()])
    return LoadResult.of({"events": events, "items": items, "users": users})


@dataclass
class _Gathered:
    """What the lines say of products and customers; bounded by the number of distinct ones."""

    descriptions: dict[str, dict[str, int]] = field(default_factory=dict)
    """How often each description was sold under a stock code."""

    prices: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Latest time and unit price above zero of a stock code."""

    countries: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Latest time and country of a customer."""

    def add(self, line: dict[str, str | None]) -> None:
        moment, code, user = line["InvoiceDate"] or "", line["StockCode"], line["CustomerID"]
        if code:
            self._add_product(code, moment, line)
        if user and (country := line["Country"]):
            self.countries[user] = max(self.countries.get(user, ("", "")), (moment, country))

    def _add_product(self, code: str, moment: str, line: dict[str, str | None]) -> None:
        counts = self.descriptions.setdefault(code, {})
        # Lines without a customer carry remarks of the warehouse instead of names: "damaged", "?", "lost".
        if (text := (line["Description"] or "").strip()) and line["CustomerID"]:
            counts[text] = counts.get(text, 0) + 1
        price = line["UnitPrice"]
        if price and float(price) > 0:
            self.prices[code] = max(self.prices.get(code, ("", "")), (moment, price))

    def items(self) -> pa.Table:
        """One row for each stock code, titled by its most frequent description."""
        codes = sorted(self.descriptions)
        titles = [_most_frequent(self.descriptions[code]) for code in codes]
        prices = [self.prices.get(code, (None, None))[1] for code in codes]
        currencies = [None if price is None else "GBP" for price in prices]
        return _text_table({"item_id": codes, "title": titles, "price": prices, "currency": currencies})

    def users(self) -> pa.Table:
        """One row for each customer, with the latest country as region."""
        ids = sorted(self.countries)
        return _text_table({"user_id": ids, "region": [self.countries[user][1] for user in ids]})


def _events(path: Path, gathered: _Gathered) -> Iterator[pa.Table]:
    first_row = 0
    for table in read_tables(path, required=COLUMNS):
        customers = pc.replace_substring_regex(table.column("CustomerID"), r"\.0$", "")
        table = table.set_column(table.column_names.index("CustomerID"), "CustomerID", customers)
        lines = table.to_pylist()
        for line in lines:
            gathered.add(line)
        is_cancelled = pc.fill_null(pc.starts_with(table.column("InvoiceNo"), "C"), False)
        units = pc.replace_substring_regex(table.column("Quantity"), "^-", "")
        columns = {
            "user_id": table.column("CustomerID"),
            "item_id": table.column("StockCode"),
            "event_type": pc.if_else(is_cancelled, "cancel", "purchase"),
            "event_at": table.column("InvoiceDate"),
            "value": pc.if_else(is_cancelled, units, table.column("Quantity")),
            "session_id": table.column("InvoiceNo"),
            "attributes": pa.array([_attributes(line) for line in lines], pa.string()),
            "source_order": pc.cast(pa.array(range(first_row, first_row + len(lines))), pa.string()),
        }
        if ROW_ERROR in table.column_names:
            columns[ROW_ERROR] = table.column(ROW_ERROR)
        first_row += len(lines)
        yield pa.table(columns)


def _attributes(line: dict[str, str | None]) -> str:
    """The rest of the line, so that two lines are equal only if all their cells are."""
    return orjson.dumps(
        {"description": line["Description"], "unit_price": line["UnitPrice"], "country": line["Country"]}
    ).decode()


def _most_frequent(counts: dict[str, int]) -> str | None:
    return min(counts, key=lambda text: (-counts[text], text)) if counts else None


def _text_table(columns: Mapping[str, Sequence[str | None]]) -> pa.Table:
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
