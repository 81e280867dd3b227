"""What a loaded source says about the deployment: its domain and the days of its events."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import ConfigurationError

if TYPE_CHECKING:
    import pandas as pd

    from orchestration.settings import Settings

_DATASETS = {"amazon-reviews", "movielens", "online-retail"}
"""Sources with a domain of their own and a last day that no later event follows."""


def domain_for(settings: "Settings", source: str, asked: str | None) -> dict[str, str | date]:
    """The domain to write to the home folder's file before a source is landed; empty where it stays as it is.

    Args:
        settings: As before the load.
        source: Name of the adapter.
        asked: Domain of the command line.

    Raises:
        ConfigurationError: the domain does not exist, or the home folder holds data of another one.
    """
    from assets.domain import load_domain

    is_set = "domain" in settings.model_fields_set
    wanted = asked or (source if source in _DATASETS and not is_set else None)
    if wanted is None or (is_set and wanted == settings.domain):
        return {}
    if is_set:
        raise ConfigurationError(
            f"the domain of {settings.root} is {settings.domain!r} already, not {wanted!r}; one home folder holds one "
            "domain: give another with --home"
        )
    load_domain(wanted)
    return {"domain": wanted}


def days_for(settings: "Settings", source: str, files: Sequence[Path]) -> dict[str, str | date]:
    """The days to write to the home folder's file after a source has landed.

    Days are only ever widened. A dataset that has ended brings its last day; files of a running system do not, since
    more will follow.
    """
    days = days_of(files)
    if days is None:
        return {}
    first, last = days
    known = settings.model_fields_set
    values: dict[str, str | date] = {}
    if "first_day" not in known or first < settings.first_day:
        values["first_day"] = first
    is_later = settings.last_day is not None and last > settings.last_day
    if source in _DATASETS and ("last_day" not in known or is_later):
        values["last_day"] = last
    return values


def days_of(files: Sequence[Path]) -> tuple[date, date] | None:
    """First and last day of the events in landing files; times that ingestion refuses do not count."""
    from quality.row_rules import EARLIEST_TIME

    latest = datetime.now(UTC).replace(tzinfo=None)
    bounds = [
        (times.min(), times.max())
        for path in files
        if path.parent.name == "events"
        for chunk in _times(path)
        if len(times := chunk[(chunk >= EARLIEST_TIME) & (chunk <= latest)])
    ]
    if not bounds:
        return None
    return min(first for first, _ in bounds).date(), max(last for _, last in bounds).date()


def _times(path: Path) -> Iterator["pd.Series[Any]"]:
    import pyarrow.parquet as pq

    from quality.row_parsing import parse_times

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["event_at"], batch_size=200_000):
            yield parse_times(batch.column("event_at").to_pandas()).dropna()
