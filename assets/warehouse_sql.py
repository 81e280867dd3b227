"""The warehouse's own SQL from raw events to interactions, run on a handful of events in memory.

dbt compiles its models once; their queries become views in an engine of this process whose database is called `lake`
too. So the nearline lane applies the very text that the batch lane runs, to whole days of the touched users only:
every window of these models is partitioned by user and day.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import duckdb
import pandas as pd
import pyarrow as pa
from filelock import FileLock

from assets.dbt_project import WarehouseProject, prepare_project, run_dbt
from assets.lake import Lake, column_sql
from models.nearline import INTERACTION_COLUMNS
from models.schema import RAW_DOMAIN_RULES, RAW_EVENT_TYPES, RAW_EVENTS, RAW_ITEMS

INTERACTIONS, HIDES, ITEMS = "interactions", "hides", "stg_items"
HISTORY_ROWS = " UNION ALL ".join(
    f"SELECT {', '.join(INTERACTION_COLUMNS)} FROM marts.{name}" for name in (INTERACTIONS, HIDES)
)
"""What histories are made from: interactions, and hides with their weights below 0."""
EVENT_COLUMNS = ("event_id", "user_id", "item_id", "event_type", "value", "event_at", "event_day", "source_order")
"""Columns of `raw.events` that the rules of the warehouse read."""

_COMPILED_FILE = "nearline.json"
_ITEMS = """
SELECT item_id, title, description, categories, categories[-1] AS category, brand_or_author, price, currency,
    available_from, available_until
"""
_FLAGS = ("--no-introspect", "--no-populate-cache")


@dataclass(frozen=True)
class CompiledModel:
    """One model of the warehouse as plain SQL."""

    schema: str
    name: str
    sql: str


def compiled_interactions(project: WarehouseProject, lake: Lake) -> tuple[CompiledModel, ...]:
    """The models that lead from raw rows to `HISTORY_ROWS` and to the items, upstream first.

    Takes milliseconds, except after a change of the dbt project: then dbt compiles it, which takes some ten seconds.

    Raises:
        ConfigurationError: the project does not compile.
    """
    manifest = prepare_project(project, lake)
    folder = project.home / "compiled"
    file = folder / _COMPILED_FILE
    with FileLock(project.home / ".compile.lock"):
        if not file.is_file() or file.stat().st_mtime < manifest.stat().st_mtime:
            models = _compile(project, lake, manifest, folder)
            unfinished = file.with_suffix(".tmp")
            unfinished.write_text(json.dumps([vars(model) for model in models]), encoding="utf-8")
            unfinished.replace(file)
        return tuple(CompiledModel(**model) for model in json.loads(file.read_text(encoding="utf-8")))


class InteractionRules:
    """Applies the warehouse's rules to whole days of users."""

    def __init__(self, models: Sequence[CompiledModel], event_types: pd.DataFrame, domain_rules: pd.DataFrame) -> None:
        """Make the engine.

        Args:
            models: What `compiled_interactions` answered.
            event_types: Rows of `raw.event_types`.
            domain_rules: The row of `raw.domain_rules`.
        """
        self._engine = duckdb.connect(":memory:", config={"threads": 1})
        self._engine.execute("ATTACH ':memory:' AS lake")
        self._engine.execute("USE lake")
        for schema in sorted({"raw", *(model.schema for model in models)}):
            self._engine.execute(f"CREATE SCHEMA {schema}")
        for table, frame in (
            (RAW_EVENTS, None),
            (RAW_ITEMS, None),
            (RAW_EVENT_TYPES, event_types),
            (RAW_DOMAIN_RULES, domain_rules),
        ):
            # Only what dbt's models read is filled in, so nothing is required here.
            self._engine.execute(f"CREATE TABLE {table.qualified_name} ({column_sql(table, with_constraints=False)})")
            if frame is not None:
                self._insert(table.qualified_name, frame)
        (self._items,) = (f"{model.schema}.{model.name}" for model in models if model.name == ITEMS)
        for model in models:
            self._engine.execute(f"CREATE VIEW {model.schema}.{model.name} AS {model.sql}")
        # Planned once: all these views take a third of the time of a small batch. The plan must believe nothing of the
        # rows that there were then: by their statistics DuckDB 1.5 packs text of later rows into too few bytes.
        self._engine.execute("SET disabled_optimizers = 'statistics_propagation'")
        self._engine.execute(f"PREPARE selected AS {HISTORY_ROWS}")
        self._nothing = self._selected()

    @classmethod
    def load(cls, project: WarehouseProject, lake: Lake) -> Self:
        """The rules of the project with the numbers of the domain that the lake has."""
        types, rules = (lake.frame(f"FROM {table.qualified_name}") for table in (RAW_EVENT_TYPES, RAW_DOMAIN_RULES))
        return cls(compiled_interactions(project, lake), types, rules)

    def interactions(self, events: pd.DataFrame) -> pd.DataFrame:
        """Interactions and hides of whole days of users.

        Args:
            events: `EVENT_COLUMNS` of all raw events of these days.

        Returns:
            `models.nearline.INTERACTION_COLUMNS`.
        """
        if events.empty:
            return self._nothing.copy()
        self._engine.execute("DELETE FROM raw.events")
        self._insert(RAW_EVENTS.qualified_name, events[list(EVENT_COLUMNS)])
        return self._selected()

    def _selected(self) -> pd.DataFrame:
        return self._engine.execute("EXECUTE selected").df()

    def items(self, versions: pd.DataFrame) -> pd.DataFrame:
        """Items as `marts.items` has them.

        Args:
            versions: Columns of `raw.items`, all versions of these items.

        Returns:
            `item_id, title, description, categories, category, brand_or_author, price, currency, available_from,
            available_until`, by item id.
        """
        self._engine.execute("DELETE FROM raw.items")
        self._insert(RAW_ITEMS.qualified_name, versions)
        return self._engine.execute(f"{_ITEMS} FROM {self._items} ORDER BY item_id").df()

    def _insert(self, table: str, frame: pd.DataFrame) -> None:
        self._engine.register("incoming", pa.Table.from_pandas(frame, preserve_index=False))
        self._engine.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")
        self._engine.unregister("incoming")


def _compile(project: WarehouseProject, lake: Lake, manifest: Path, folder: Path) -> list[CompiledModel]:
    folder.mkdir(parents=True, exist_ok=True)
    parsed = project.target / "partial_parse.msgpack"
    if parsed.is_file():
        shutil.copy(parsed, folder)
    nodes = json.loads(manifest.read_text(encoding="utf-8"))["nodes"]
    every = (node for name in (INTERACTIONS, HIDES, ITEMS) for node in _upstream_of(nodes, name))
    chosen = list({node["unique_id"]: node for node in every}.values())
    run_dbt(project, lake, ["compile", *_FLAGS, "--select", *(node["name"] for node in chosen)], target=folder)
    compiled = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["nodes"]
    return [
        CompiledModel(node["schema"], node["name"], compiled[node["unique_id"]]["compiled_code"]) for node in chosen
    ]


def _upstream_of(nodes: Mapping[str, Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    """A model and the models that it is made from, upstream first."""
    (last,) = (key for key, node in nodes.items() if node["resource_type"] == "model" and node["name"] == name)
    ordered: dict[str, Mapping[str, Any]] = {}

    def visit(key: str) -> None:
        for parent in nodes[key]["depends_on"]["nodes"]:
            if parent in nodes and parent not in ordered:
                visit(parent)
        ordered[key] = nodes[key]

    visit(last)
    return list(ordered.values())
