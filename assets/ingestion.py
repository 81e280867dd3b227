"""Raw tables from the landing zone, one row per distinct source row; unpartitioned.

Each asset ingests all new complete files of its kind. A file that cannot be used as a whole does not stop the
others: it is moved to `rejected/`, the rest is committed, and then the asset fails and names it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from dagster import AssetExecutionContext, Failure, FreshnessPolicy, MaterializeResult, MetadataValue, asset

from assets.domain import Domain
from assets.ingest import IngestReport, ingest_landing
from assets.lake import Lake, append_frame
from assets.resources import DomainResource, LakeResource, LandingResource
from models.schema import RAW_DOMAIN_RULES, RAW_EVENT_TYPES, Table
from quality.landing_columns import Kind


@asset(
    group_name="ingestion",
    kinds={"ducklake", "parquet"},
    owners=["team:data"],
    code_version="1",
    freshness_policy=FreshnessPolicy.time_window(fail_window=timedelta(hours=48), warn_window=timedelta(hours=26)),
)
def raw_events(
    context: AssetExecutionContext, lake: LakeResource, domain: DomainResource, landing: LandingResource
) -> MaterializeResult[Any]:
    """One row per distinct source event, and the event types and numbers of the domain that SQL reads."""
    publish_domain(lake.lake, domain.domain)
    return _ingest("events", context, lake, domain, landing)


@asset(group_name="ingestion", kinds={"ducklake", "parquet"}, owners=["team:data"], code_version="1")
def raw_items(
    context: AssetExecutionContext, lake: LakeResource, domain: DomainResource, landing: LandingResource
) -> MaterializeResult[Any]:
    """One row per distinct version of an item."""
    return _ingest("items", context, lake, domain, landing)


@asset(group_name="ingestion", kinds={"ducklake", "parquet"}, owners=["team:data"], code_version="1")
def raw_users(
    context: AssetExecutionContext, lake: LakeResource, domain: DomainResource, landing: LandingResource
) -> MaterializeResult[Any]:
    """One row per distinct version of a user who has attributes."""
    return _ingest("users", context, lake, domain, landing)


def publish_domain(lake: Lake, domain: Domain) -> bool:
    """Write the domain's event types and numbers to `raw`, and say whether anything changed."""
    published = _tables_of(domain)
    if _present(lake, published) == _rows(published):
        return False

    def publish(connection: Any) -> None:
        for table, frame in published.items():
            connection.execute(f"DELETE FROM {table.qualified_name}")
            append_frame(connection, table, frame)

    lake.write(publish, message=f"publish domain {domain.name}")
    return True


def is_domain_published(lake: Lake, domain: Domain) -> bool:
    """Whether `raw` has the domain's event types and numbers as they are now."""
    published = _tables_of(domain)
    return _present(lake, published) == _rows(published)


def _tables_of(domain: Domain) -> dict[Table, pd.DataFrame]:
    types = pd.DataFrame(sorted(domain.event_weights.items()), columns=RAW_EVENT_TYPES.column_names)
    values: Mapping[str, Any] = {**vars(domain), "domain": domain.name}
    rules = pd.DataFrame([{name: values[name] for name in RAW_DOMAIN_RULES.column_names}])
    return {RAW_EVENT_TYPES: types, RAW_DOMAIN_RULES: rules}


def _present(lake: Lake, tables: Mapping[Table, pd.DataFrame]) -> list[list[tuple[Any, ...]]]:
    with lake.connect() as connection:
        return [connection.table(table.qualified_name).order("1").fetchall() for table in tables]


def _rows(tables: Mapping[Table, pd.DataFrame]) -> list[list[tuple[Any, ...]]]:
    return [list(frame.itertuples(index=False, name=None)) for frame in tables.values()]


def ingestion_metadata(report: IngestReport) -> dict[str, Any]:
    """What a person wants to see of an ingestion in the Dagster UI."""
    days = report.days_touched
    return {
        "files": len(report.files),
        "rows_in": report.total("rows_in"),
        "rows_accepted": report.total("rows_accepted"),
        "rows_quarantined": report.total("rows_quarantined"),
        "rows_duplicate": report.total("rows_duplicate"),
        "files_known": len(report.known),
        "files_unsettled": MetadataValue.json(list(report.unsettled)),
        "days_touched": len(days),
        "first_day": str(days[0]) if days else "none",
        "last_day": str(days[-1]) if days else "none",
        "quarantined_by_rule": MetadataValue.md(_markdown("rule", report.quarantined_by_rule)),
        "columns_ignored": MetadataValue.md(
            _markdown("file", {file.name: ", ".join(file.ignored_columns) for file in report.files})
        ),
    }


def rejection_message(report: IngestReport) -> str:
    """Which files were rejected, why, and what to do."""
    lines = [f"- {file.reason} (moved to {file.moved_to})" for file in report.rejected]
    return "\n".join(
        [f"{len(lines)} files were rejected and set aside; all others were ingested. Mend and land again:", *lines]
    )


def _ingest(
    kind: Kind,
    context: AssetExecutionContext,
    lake: LakeResource,
    domain: DomainResource,
    landing: LandingResource,
) -> MaterializeResult[Any]:
    report = ingest_landing(
        lake.lake,
        Path(landing.path),
        domain.domain,
        landing.pseudonym_key,
        # The edge: from here on the time of reception is an argument.
        received_at=datetime.now(UTC),
        settle_seconds=landing.settle_seconds,
        kinds=(kind,),
        on_progress=lambda progress: context.log.info(f"{progress.file_name}: {progress.phase} {progress.rows:,} rows"),
    )
    metadata = ingestion_metadata(report)
    if report.rejected:
        raise Failure(rejection_message(report), metadata=metadata, allow_retries=False)
    return MaterializeResult(metadata=metadata)


def _markdown(name: str, values: Mapping[str, object]) -> str:
    shown = {key: value for key, value in values.items() if value}
    if not shown:
        return "none"
    return "\n".join([f"| {name} | |", "|---|---:|", *(f"| {key} | {value} |" for key, value in shown.items())])
