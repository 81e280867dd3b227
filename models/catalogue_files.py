"""The catalogue as a Parquet file beside a saved model (without its vectors, which live in the retrievers)."""

from pathlib import Path

import pandas as pd

from models.catalogue import Catalogue


def save_catalogue(catalogue: Catalogue, path: Path) -> None:
    """Write ids, titles, categories, brands, availability and prices."""
    columns = {
        "item_id": catalogue.item_ids,
        "title": catalogue.titles,
        "category": catalogue.categories,
        "brand_or_author": catalogue.brands,
        "available_from": catalogue.available_from,
        "available_until": catalogue.available_until,
    }
    if catalogue.prices is not None:
        columns["price"] = catalogue.prices
    pd.DataFrame(columns).to_parquet(path, index=False)


def load_catalogue(path: Path) -> Catalogue:
    """Read what `save_catalogue` wrote."""
    frame = pd.read_parquet(path)
    return Catalogue(
        item_ids=frame["item_id"].to_numpy(dtype=object),
        titles=frame["title"].to_numpy(dtype=object),
        categories=frame["category"].to_numpy(dtype=object),
        brands=frame["brand_or_author"].to_numpy(dtype=object),
        available_from=frame["available_from"].to_numpy(dtype="int64"),
        available_until=frame["available_until"].to_numpy(dtype="int64"),
        prices=frame["price"].to_numpy(dtype="float32") if "price" in frame.columns else None,
    )
