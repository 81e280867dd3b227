"""The state of a deployment: last runs, tables, freshness, quarantine, models, and what waits to be processed."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb

from assets.ingest import unread_files
from assets.lake import Lake
from assets.pending_days import pending_days
from assets.quarantine import count_by_rule
from models.schema import MARTS, TABLES
from orchestration.settings import Settings

if TYPE_CHECKING:
    from dagster import RunRecord

_RUNS = 5

_LISTS = """
SELECT count(*) AS users, min(generated_at) AS oldest, max(generated_at) AS newest, min(expires_at) AS first_expiry,
    count(*) FILTER (expires_at <= $now) AS expired, list(DISTINCT model_version) AS model_versions
FROM serving.top_k
"""


@dataclass(frozen=True)
class RunFacts:
    """One Dagster run."""

    run_id: str
    what: str
    """Group or job."""

    outcome: str
    started_at: datetime | None
    """UTC."""

    seconds: float | None


@dataclass(frozen=True)
class Lists:
    """Freshness of the served lists."""

    users: int
    oldest: datetime
    """Moment that the oldest list is for, UTC."""

    newest: datetime
    first_expiry: datetime
    expired: int
    """Lists whose time is over."""

    model_versions: tuple[str, ...]


@dataclass(frozen=True)
class Status:
    """Everything that `freshet status` shows."""

    home: str
    domain: str
    now: datetime
    as_of: datetime | None
    """End of the last built day with interactions; None before the first."""

    runs: tuple[RunFacts, ...]
    tables: dict[str, int]
    """Rows by qualified name, of the tables that exist."""

    lists: Lists | None
    """None while there are none."""

    quarantine: tuple[dict[str, Any], ...]
    """`kind, rule, column_name, rows, open, replayed`."""

    models: dict[str, str]
    """Content version of challenger, champion, encoder and index, of those that were built."""

    pending_days: dict[str, int]
    """Events by day that the warehouse has not built yet."""

    unread_files: tuple[str, ...]
    """Landing files whose content was never ingested."""


def read_status(settings: Settings, lake: Lake, *, now: datetime) -> Status:
    """Read the state; nothing is written.

    Args:
        settings: Where everything is.
        lake: The lake, which must exist.
        now: The present moment, UTC without a zone.

    Raises:
        LakeError: the catalogue cannot be opened.
    """
    tables = _count_rows(lake)
    return Status(
        home=str(settings.root),
        domain=settings.domain,
        now=now,
        as_of=_as_of(lake, tables),
        runs=_runs(settings),
        tables=tables,
        lists=_lists(lake, now) if tables.get("serving.top_k") else None,
        quarantine=tuple({str(k): v for k, v in row.items()} for row in count_by_rule(lake).to_dict("records")),
        models=_models(lake),
        pending_days={day.isoformat(): rows for day, rows in pending_days(lake).items()},
        unread_files=unread_files(lake, settings.landing_path),
    )


def _count_rows(lake: Lake) -> dict[str, int]:
    names = [table.qualified_name for table in (*TABLES, *MARTS)]
    with lake.connect() as connection:
        rows = connection.execute(
            "SELECT table_schema || '.' || table_name FROM information_schema.tables WHERE table_catalog = 'lake'"
        ).fetchall()
        existing = {name for (name,) in rows}
        return {name: _count(connection, name) for name in names if name in existing}


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])


def _as_of(lake: Lake, tables: dict[str, int]) -> datetime | None:
    from assets.builds import data_as_of

    return data_as_of(lake) if tables.get("marts.interactions") else None


def _lists(lake: Lake, now: datetime) -> Lists:
    with lake.connect() as connection:
        users, oldest, newest, first_expiry, expired, versions = connection.execute(_LISTS, {"now": now}).fetchall()[0]
    return Lists(users, oldest, newest, first_expiry, expired, tuple(sorted(versions)))


def _models(lake: Lake) -> dict[str, str]:
    from assets.builds import last_build
    from assets.champion import CHAMPION
    from assets.index import INDEX
    from assets.language_model import FINETUNED
    from assets.recommender import CHALLENGER

    roles = {"champion": CHAMPION, "challenger": CHALLENGER, "encoder": FINETUNED, "index": INDEX}
    builds = {role: last_build(lake, asset) for role, asset in roles.items()}
    return {role: build.version for role, build in builds.items() if build is not None and build.version}


def _runs(settings: Settings) -> tuple[RunFacts, ...]:
    if not (settings.dagster_home / "dagster.yaml").exists():
        return ()
    from orchestration.environment import prepare_environment
    from orchestration.home import open_instance

    prepare_environment(settings)
    with open_instance(settings) as instance:
        return tuple(_run_facts(record) for record in instance.get_run_records(limit=_RUNS))


def _run_facts(record: "RunRecord") -> RunFacts:
    run = record.dagster_run
    began, ended = record.start_time, record.end_time
    return RunFacts(
        run_id=run.run_id,
        what=run.tags.get("freshet/group") or run.tags.get("freshet/job") or run.job_name,
        outcome=run.status.value.lower(),
        started_at=None if began is None else datetime.fromtimestamp(began, UTC).replace(tzinfo=None),
        seconds=None if began is None or ended is None else ended - began,
    )
