"""The warehouse as Dagster assets: dbt's models, its tests as checks, one dbt build for each of two sets.

`warehouse_facts` are the tables of events, partitioned by UTC day; one run builds any range of days with one query
for each model. `warehouse_dimensions` are small tables that are rebuilt whole.
"""

import shutil
from collections.abc import Iterator, Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dagster import AssetExecutionContext, AssetKey, AssetsDefinition, BackfillPolicy, Output, PartitionsDefinition
from dagster_dbt import (
    DagsterDbtTranslator,
    DagsterDbtTranslatorSettings,
    DbtCliInvocation,
    DbtCliResource,
    dbt_assets,
)
from dagster_dbt.asset_utils import get_updated_cli_invocation_params_for_context
from packaging.version import Version

from assets.builds import recorded_build
from assets.dbt_project import WarehouseProject, build_arguments, child_environment, dbt_command
from assets.lake import Lake
from assets.pending_days import pending_days, settle_pending_days
from assets.resources import DomainResource, LakeResource
from assets.warehouse import BUILD_FROM_TAG, DIMENSIONS, FACTS, RECIPES, is_whole
from models.errors import ConfigurationError

GROUP = "warehouse"
OWNERS = ["team:data"]

_LOADED_SOURCES = {"events", "items", "users"}
_DOMAIN_SOURCES = {"event_types", "domain_rules"}
_FACTS = "stg_events config.materialized:incremental"
_DIMENSIONS = "stg_items stg_users config.materialized:table"


class WarehouseTranslator(DagsterDbtTranslator):  # type: ignore[misc]  # dagster_dbt ships no types that mypy finds
    """Names dbt's nodes as the rest of the graph does."""

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> AssetKey:
        """Single names; the sources that ingestion loads are `raw_events`, `raw_items` and `raw_users`.

        The asset `raw_events` writes the event types and numbers of the domain too.
        """
        name = str(dbt_resource_props["name"])
        if dbt_resource_props["resource_type"] == "source" and name in _DOMAIN_SOURCES:
            return AssetKey("raw_events")
        if dbt_resource_props["resource_type"] == "source" and name in _LOADED_SOURCES:
            return AssetKey(f"raw_{name}")
        return AssetKey(name)

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """All models belong to one group."""
        return GROUP

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        """All models have one owner."""
        return OWNERS


class WarehouseDbt(DbtCliResource):  # type: ignore[misc]
    """dbt over the lake.

    Differs from its parent in what it does around the dbt process: the lake's address comes from the lake, not from
    this process's environment; the process dies with its parent; no second adapter is opened, and `dbt --version` is
    not run before each build, which together took longer than the build.
    """

    home: str
    """Folder for everything that dbt writes."""

    @classmethod
    def of(cls, project: WarehouseProject) -> "WarehouseDbt":
        """Resource for a project."""
        return cls(
            project_dir=str(project.source),
            profiles_dir=str(project.source),
            dbt_executable=dbt_command([])[0],
            home=str(project.home),
        )

    @property
    def project(self) -> WarehouseProject:
        """The project that this resource runs."""
        return WarehouseProject(Path(self.project_dir), Path(self.home))

    def start(self, arguments: list[str], lake: Lake, context: AssetExecutionContext) -> DbtCliInvocation:
        """Start dbt on the models and tests that Dagster selected; the caller holds the lake's write lock."""
        project, op_context = self.project, context.op_execution_context
        params = get_updated_cli_invocation_params_for_context(
            context=op_context, manifest={}, dagster_dbt_translator=WarehouseTranslator()
        )
        target = project.home / "runs" / f"{op_context.op.name}-{context.run.run_id[:8]}"
        target.mkdir(parents=True, exist_ok=True)
        parsed = project.target / "partial_parse.msgpack"
        if parsed.is_file():
            shutil.copy(parsed, target)
        environment = child_environment(project, lake, target) | {"DBT_LOG_FORMAT": "json"}
        if params.indirect_selection:
            environment["DBT_INDIRECT_SELECTION"] = params.indirect_selection
        return DbtCliInvocation.run(
            args=dbt_command([*arguments, *params.selection_args]),
            env=environment,
            manifest=params.manifest,
            dagster_dbt_translator=params.dagster_dbt_translator,
            project_dir=project.source,
            target_path=target,
            raise_on_error=True,
            context=op_context,
            adapter=None,
            cli_version=Version(version("dbt-core")),
            dbt_project=None,
        )


def build_dbt_assets(manifest: Path, partitions: PartitionsDefinition[Any]) -> list[AssetsDefinition]:
    """Make the assets of the warehouse from a parsed dbt project.

    Args:
        manifest: `manifest.json`, see `assets.dbt_project.prepare_project`.
        partitions: Days of events.

    Raises:
        ConfigurationError: the manifest is missing.
    """
    if not manifest.is_file():
        raise ConfigurationError(f"the dbt manifest {manifest} is missing; parse the project first")
    settings = DagsterDbtTranslatorSettings(enable_source_metadata=False, enable_duplicate_source_asset_keys=True)

    @dbt_assets(  # type: ignore[untyped-decorator]
        name="warehouse_facts",
        manifest=manifest,
        select=_FACTS,
        dagster_dbt_translator=WarehouseTranslator(settings),
        partitions_def=partitions,
        backfill_policy=BackfillPolicy.single_run(),
    )
    def warehouse_facts(
        context: AssetExecutionContext, dbt: WarehouseDbt, lake: LakeResource, domain: DomainResource
    ) -> Iterator[Any]:
        """Build the days of the run, and take them off the list of days to build."""
        window = _window(context)
        with lake.lake.lock():
            pending = pending_days(lake.lake, window)
            yield from _build(context, dbt, lake.lake, window)
            if not context.is_subset:
                settle_pending_days(lake.lake, pending)
                if is_whole(lake.lake, window):
                    with recorded_build(lake.lake, domain.domain, FACTS, RECIPES[FACTS]):
                        context.log.info("all days are built with the present rules of the domain")

    @dbt_assets(  # type: ignore[untyped-decorator]
        name="warehouse_dimensions",
        manifest=manifest,
        select=_DIMENSIONS,
        dagster_dbt_translator=WarehouseTranslator(settings),
    )
    def warehouse_dimensions(
        context: AssetExecutionContext, dbt: WarehouseDbt, lake: LakeResource, domain: DomainResource
    ) -> Iterator[Any]:
        """Rebuild the tables of items and users whole."""
        with lake.lake.lock():
            if context.is_subset:
                yield from _build(context, dbt, lake.lake, None)
                return
            with recorded_build(lake.lake, domain.domain, DIMENSIONS, RECIPES[DIMENSIONS]):
                yield from _build(context, dbt, lake.lake, None)

    return [warehouse_facts, warehouse_dimensions]


def _window(context: AssetExecutionContext) -> tuple[date, date] | None:
    """Days of the run, end exclusive; None without a partition: everything."""
    if not (context.has_partition_key or context.has_partition_key_range):
        return None
    start, end = context.partition_time_window
    build_from = context.run.tags.get(BUILD_FROM_TAG)
    return (date.fromisoformat(build_from) if build_from else start.date()), end.date()


def _build(
    context: AssetExecutionContext, dbt: WarehouseDbt, lake: Lake, window: tuple[date, date] | None
) -> Iterator[Any]:
    invocation = dbt.start(build_arguments(window), lake, context)
    for event in invocation.stream():
        if isinstance(event, Output):
            table = _table(invocation.manifest, event)
            (rows,) = lake.frame(f"SELECT count(*) AS n FROM {table}")["n"]
            context.add_output_metadata({"dagster/row_count": int(rows)}, output_name=event.output_name)
        yield event
    # Kept where the build failed: the compiled SQL and the log say why.
    shutil.rmtree(invocation.target_path)


def _table(manifest: Mapping[str, Any], output: Output[Any]) -> str:
    node = manifest["nodes"][output.metadata["unique_id"].value]
    return f"{node['schema']}.{node['name']}"
