"""The catalogue as aligned arrays: row `i` of every array describes item row `i`."""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from models.errors import DataError
from models.interactions import BoolArray, FloatArray, IntArray, LongArray, ObjectArray

ALWAYS = np.iinfo(np.int64).max
"""Stands for "never ends" in `available_until`; its negative stands for "always has been" in `available_from`."""


@dataclass(frozen=True)
class Catalogue:
    """All known items, sorted by `item_id`. Times are seconds since 1970 UTC."""

    item_ids: ObjectArray
    titles: ObjectArray
    categories: ObjectArray
    """Narrowest category of each item, empty where unknown."""
    brands: ObjectArray
    available_from: LongArray
    available_until: LongArray
    embeddings: FloatArray | None = None
    """Unit-length text vectors, shape (items, dimension); a zero row for an item without text."""
    prices: FloatArray | None = None
    """Price of each item, NaN where unknown, shape (items,); None where the source has none."""

    @cached_property
    def rows(self) -> "pd.Index[Any]":
        """Finds the rows of item ids."""
        return pd.Index(self.item_ids)

    @cached_property
    def category_codes(self) -> IntArray:
        """Number of each item's category, -1 where unknown, shape (items,)."""
        return _codes(self.categories)

    @cached_property
    def brand_codes(self) -> IntArray:
        """Number of each item's brand or author, -1 where unknown, shape (items,)."""
        return _codes(self.brands)

    @classmethod
    def from_frame(cls, items: pd.DataFrame, embeddings: FloatArray | None = None) -> "Catalogue":
        """Build from a frame with `item_id` and any of `title, category, brand_or_author, price, available_*`.

        Args:
            items: One row per item.
            embeddings: Vectors aligned with the rows of `items`.

        Raises:
            DataError: there are no items, or an item id repeats.
        """
        if items.empty:
            raise DataError("the catalogue has no items; land an items file or run `freshet load`")
        if items["item_id"].duplicated().any():
            repeated = items.loc[items["item_id"].duplicated(), "item_id"].iloc[0]
            raise DataError(f"item_id {repeated!r} appears more than once in the catalogue")
        order = np.argsort(items["item_id"].to_numpy(dtype=str), kind="stable")
        ordered = items.iloc[order]
        return cls(
            item_ids=ordered["item_id"].to_numpy(dtype=object),
            titles=_text(ordered, "title"),
            categories=_text(ordered, "category"),
            brands=_text(ordered, "brand_or_author"),
            available_from=_seconds(ordered, "available_from", -ALWAYS),
            available_until=_seconds(ordered, "available_until", ALWAYS),
            embeddings=None if embeddings is None else np.ascontiguousarray(embeddings[order], dtype=np.float32),
            prices=ordered["price"].to_numpy(dtype=np.float32, na_value=np.nan) if "price" in items.columns else None,
        )

    @property
    def count(self) -> int:
        """Number of items."""
        return len(self.item_ids)

    def available_at(self, as_of: int) -> BoolArray:
        """Which items may be recommended at `as_of` (seconds since 1970 UTC), shape (items,)."""
        return (self.available_from <= as_of) & (as_of < self.available_until)

    def with_items(self, items: pd.DataFrame, embeddings: FloatArray | None) -> "Catalogue":
        """The catalogue with items added, or put in the place of those with the same ids.

        Args:
            items: One row per item, as for `from_frame`.
            embeddings: Vectors aligned with the rows of `items`; needed where this catalogue has vectors.
        """
        changed = Catalogue.from_frame(items, embeddings)
        if (self.embeddings is None) != (changed.embeddings is None):
            raise DataError("either all items of a catalogue have a text vector or none; give vectors of the new ones")
        kept = ~np.isin(self.item_ids.astype(str), changed.item_ids.astype(str))
        item_ids = np.concatenate([self.item_ids[kept], changed.item_ids])
        order = np.argsort(item_ids.astype(str), kind="stable")

        def merged(name: str) -> Any:
            own, new = getattr(self, name), getattr(changed, name)
            if own is None:
                return None
            new = np.full(changed.count, np.nan, dtype=np.float32) if new is None else new
            return np.ascontiguousarray(np.concatenate([own[kept], new])[order])

        return Catalogue(**{entry.name: merged(entry.name) for entry in fields(Catalogue)})

    def with_embeddings(self, embeddings: FloatArray) -> "Catalogue":
        """The same catalogue with text vectors, shape (items, dimension)."""
        if len(embeddings) != self.count:
            raise DataError(f"{len(embeddings)} embeddings for {self.count} items")
        return replace(self, embeddings=embeddings)


def _codes(values: ObjectArray) -> IntArray:
    codes = pd.factorize(values)[0].astype(np.int32)
    return np.where(values == "", np.int32(-1), codes)


def _text(items: pd.DataFrame, column: str) -> ObjectArray:
    if column not in items.columns:
        return np.full(len(items), "", dtype=object)
    return items[column].astype(object).where(items[column].notna(), "").to_numpy(dtype=object)


def _seconds(items: pd.DataFrame, column: str, missing: int) -> LongArray:
    if column not in items.columns:
        return np.full(len(items), missing, dtype=np.int64)
    values = items[column].to_numpy(dtype="datetime64[s]")
    return np.where(np.isnat(values), missing, values.astype(np.int64))
