"""Item attributes as the text that the encoder reads."""

import hashlib
import math
from typing import Any

import pandas as pd

DESCRIPTION_WORDS = 40
"""Words of the description that are kept: the encoder reads some 64 tokens, and the first sentence says most."""


def render_item_text(items: pd.DataFrame) -> pd.Series:
    """One line per item: title, brand or author, category path, price, start of the description.

    What an item lacks is left out; one with neither title, categories, brand nor description has the empty string,
    whatever its price.

    Args:
        items: Frame with any of `title, description, categories (list), category, brand_or_author, price, currency`.

    Returns:
        Text of each row, with the index of `items` and the name `text`.
    """
    columns = [_column(items, name) for name in ("title", "brand_or_author", "price", "currency", "description")]
    paths = _category_paths(items)
    texts = [_line(*row) for row in zip(*columns, paths, strict=True)]
    return pd.Series(texts, index=items.index, name="text", dtype=object)


def text_hashes(texts: pd.Series) -> pd.Series:
    """SHA-256 of each text, hexadecimal; same index, name `text_hash`."""
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    return pd.Series(hashes, index=texts.index, name="text_hash", dtype=object)


def _line(title: Any, brand: Any, price: Any, currency: Any, description: Any, path: str) -> str:
    title, brand, description = _clean(title), _clean(brand), _clean(description)
    parts = [title, f"by {brand}" if brand and brand.lower() not in title.lower() else "", path]
    if any(parts) or description:
        parts.append(_price(price, _clean(currency)))
    parts.append(" ".join(description.split()[:DESCRIPTION_WORDS]))
    return ". ".join(part.rstrip(".") for part in parts if part)


def _category_paths(items: pd.DataFrame) -> list[str]:
    narrow = [_clean(value) for value in _column(items, "category")]
    if "categories" not in items.columns:
        return narrow
    return [_path(value) or fallback for value, fallback in zip(items["categories"], narrow, strict=True)]


def _path(value: Any) -> str:
    """Category path from widest to narrowest, `a > b > c`; anything that is not a list counts as absent."""
    if value is None or isinstance(value, (str, float)) or value is pd.NA:
        return ""
    return " > ".join(part for part in (_clean(name) for name in value) if part)


def _price(value: Any, currency: str) -> str:
    if value is None or value is pd.NA or not math.isfinite(float(value)) or float(value) <= 0:
        return ""
    return f"{float(value):.2f} {currency}".strip()


def _clean(value: Any) -> str:
    """The value as one line of text; empty for anything missing."""
    return " ".join(value.split()) if isinstance(value, str) else ""


def _column(items: pd.DataFrame, name: str) -> list[Any]:
    return items[name].tolist() if name in items.columns else [None] * len(items)
