"""The source adapters by name, for the command line.

The `demo` source is no adapter, since it has no source to read: see `assets.sources.demo.generate`.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.landing_zone import LandingZone
from assets.sources import amazon_reviews, generic_files, movielens, online_retail
from assets.sources.loading import LoadResult
from models.errors import ConfigurationError


@dataclass(frozen=True)
class Source:
    """One adapter; `options` are the keyword arguments of its `load`, with a line of help each."""

    name: str
    summary: str
    load: Callable[..., LoadResult]
    options: Mapping[str, str]


_ADAPTERS = (
    Source(
        "files",
        "Any CSV, JSON lines or Parquet files, with a mapping of columns.",
        generic_files.load,
        {
            "kind": "What the rows are: events, items or users.",
            "columns": "Source column by landing column.",
            "attributes": "Source columns to keep as attributes.",
            "event_type": "Event type of all rows, for a source without such a column.",
            "encoding": "Encoding of text files.",
            "delimiter": "Character between the cells of CSV.",
        },
    ),
    Source(
        "amazon-reviews",
        "Amazon product reviews: a folder with interactions.parquet and items.parquet.",
        amazon_reviews.load,
        {"tie_order": "Order of reviews within a day: position or p5_position."},
    ),
    Source(
        "movielens",
        "MovieLens: a folder with interactions.parquet, items.parquet and users.parquet.",
        movielens.load,
        {"missing_times": "Rows without a time: refuse, quarantine or interpolate."},
    ),
    Source("online-retail", "UCI Online Retail: a file of invoice lines, or its folder.", online_retail.load, {}),
)

SOURCES: Mapping[str, Source] = {source.name: source for source in _ADAPTERS}


def load_source(name: str, source: Path, landing: LandingZone, options: Mapping[str, Any] | None = None) -> LoadResult:
    """Land a source with the adapter of that name.

    Args:
        name: Key of `SOURCES`.
        source: File or folder.
        landing: Where to.
        options: Options of that adapter.

    Raises:
        ConfigurationError: no such adapter or option.
        SourceError: the source cannot be read.
    """
    if name not in SOURCES:
        raise ConfigurationError(f"no source {name!r}; {_guess(name, SOURCES)}")
    adapter = SOURCES[name]
    for option in options or {}:
        if option not in adapter.options:
            raise ConfigurationError(f"source {name!r} has no option {option!r}; {_guess(option, adapter.options)}")
    return adapter.load(source, landing, **(options or {}))


def _guess(word: str, known: Mapping[str, Any]) -> str:
    nearest = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"there are {', '.join(known) or 'none'}" + (f"; did you mean {nearest[0]!r}?" if nearest else "")
