"""What was built from what: the ledger that lets a rerun skip what is already true.

Each asset records a fingerprint over its code version, its part of the configuration and the content of its inputs.
An asset is stale when that fingerprint would differ now. Trained models are stale only when their configuration
changed or when enough days of data have passed, since each day's data changes their inputs.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import duckdb
import pandas as pd

from assets.domain import Domain
from assets.lake import Lake, append_frame
from models.errors import DataError
from models.schema import OPS_BUILDS


@dataclass(frozen=True)
class Recipe:
    """What an asset is made of."""

    code_version: str
    """Raised by hand whenever the same inputs would give another output."""

    tables: tuple[str, ...] = ()
    """Tables of the lake that it reads; their content counts."""

    builds: tuple[str, ...] = ()
    """Assets whose artifact it reads; their version counts."""

    domain_keys: tuple[str, ...] = ()
    """Fields of the domain that it reads."""

    is_trained: bool = False
    """Whether new data rebuilds it by age only, instead of at every change of its tables; `builds` count always."""

    exclude: tuple[str, ...] = ()
    """Columns of the tables that it does not depend on."""


@dataclass
class Build:
    """One build under way; what the asset fills in is recorded when it ends well."""

    asset: str
    as_of: datetime | None = None
    version: str = ""
    snapshot: int | None = None
    facts: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class BuildRecord:
    """The last finished build of an asset."""

    asset: str
    fingerprint: str
    as_of: datetime | None
    version: str
    snapshot: int | None
    seconds: float


def fingerprint(lake: Lake, domain: Domain, recipe: Recipe, settings: str = "") -> str:
    """Hash over all that decides what a build makes.

    Args:
        lake: Where the inputs are.
        domain: Whose fields count.
        recipe: Which inputs and fields count.
        settings: Settings outside the domain that count, such as the encoder's name.
    """
    parts: list[object] = [recipe.code_version, settings]
    parts += [domain.fingerprint(*recipe.domain_keys)] if recipe.domain_keys else []
    if not recipe.is_trained:
        parts += [lake.fingerprint(table, exclude=recipe.exclude) for table in recipe.tables]
    records = [last_build(lake, asset) for asset in recipe.builds]
    parts += [record.version if record else "none" for record in records]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def last_build(lake: Lake, asset: str) -> BuildRecord | None:
    """The last finished build of an asset, or None."""
    rows = lake.frame("SELECT * FROM ops.builds WHERE asset = ?", [asset])
    if rows.empty:
        return None
    row = rows.iloc[0]
    return BuildRecord(
        asset=asset,
        fingerprint=str(row["fingerprint"]),
        as_of=None if pd.isna(row["as_of"]) else row["as_of"].to_pydatetime(),
        version="" if pd.isna(row["version"]) else str(row["version"]),
        snapshot=None if pd.isna(row["snapshot"]) else int(row["snapshot"]),
        seconds=float(row["seconds"]),
    )


def built_version(lake: Lake, asset: str) -> str:
    """Version of an asset's artifact.

    Raises:
        DataError: it was never built.
    """
    record = last_build(lake, asset)
    if record is None or not record.version:
        raise DataError(f"{asset} has not been built yet; run `freshet run` or materialise it in the UI")
    return record.version


def is_stale(lake: Lake, domain: Domain, asset: str, recipe: Recipe, *, as_of: datetime, settings: str = "") -> bool:
    """Whether building the asset now would change it (or, for a trained one, whether its time has come)."""
    record = last_build(lake, asset)
    if record is None or record.fingerprint != fingerprint(lake, domain, recipe, settings):
        return True
    if not recipe.is_trained:
        return False
    return record.as_of is None or as_of - record.as_of >= timedelta(days=domain.retrain_every_days)


@contextmanager
def recorded_build(lake: Lake, domain: Domain, asset: str, recipe: Recipe, settings: str = "") -> Iterator[Build]:
    """Record a build once its body has ended without an error.

    The fingerprint is taken before the body runs, so inputs that change meanwhile make the asset stale again.
    """
    taken = fingerprint(lake, domain, recipe, settings)
    started = time.monotonic()
    build = Build(asset)
    yield build
    row = {
        "asset": asset,
        "fingerprint": taken,
        "as_of": build.as_of,
        "version": build.version,
        "snapshot": build.snapshot,
        "built_at": datetime.now(UTC).replace(tzinfo=None),
        "seconds": time.monotonic() - started,
    }

    def replace(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("DELETE FROM ops.builds WHERE asset = ?", [asset])
        append_frame(connection, OPS_BUILDS, pd.DataFrame([row]))

    lake.write(replace, message=f"built {asset}")


def data_as_of(lake: Lake) -> datetime:
    """End of the last day with interactions, exclusive: the time that lists are made for.

    Raises:
        DataError: there are no interactions.
    """
    last = lake.frame("SELECT max(event_day) AS last_day FROM marts.interactions")["last_day"].iloc[0]
    if pd.isna(last):
        raise DataError("marts.interactions is empty; land events with `freshet load` and run the warehouse first")
    return (pd.Timestamp(last) + pd.Timedelta(days=1)).to_pydatetime()
