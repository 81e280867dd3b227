"""Column names and table schemas of the lake, declared once for Python.

`Columns` is the only home of column names; `TABLES` lists every table that Python code writes. The marts are
written by dbt, whose contracts must equal `MARTS` (a test compares them).
"""

from models.schema_features import (
    ITEM_COOCCURRENCE,
    ITEM_EMBEDDINGS,
    ITEM_POPULARITY,
    ITEM_RULES,
    ITEM_TEXTS,
    TOP_K,
    TRAINING_INTERACTIONS,
    USER_HISTORIES,
)
from models.schema_marts import MARTS
from models.schema_nearline import LIST_FRESHNESS, NEARLINE_POSITIONS
from models.schema_raw import (
    OPS_BUILDS,
    OPS_FILES,
    OPS_PENDING_DAYS,
    QUARANTINE_ROWS,
    RAW_DOMAIN_RULES,
    RAW_EVENT_TYPES,
    RAW_EVENTS,
    RAW_ITEMS,
    RAW_USERS,
)
from models.table import Column, Table

__all__ = [
    "ITEM_COOCCURRENCE",
    "ITEM_EMBEDDINGS",
    "ITEM_POPULARITY",
    "ITEM_RULES",
    "ITEM_TEXTS",
    "LIST_FRESHNESS",
    "MARTS",
    "NEARLINE_POSITIONS",
    "OPS_BUILDS",
    "OPS_FILES",
    "OPS_PENDING_DAYS",
    "QUARANTINE_ROWS",
    "RAW_DOMAIN_RULES",
    "RAW_EVENTS",
    "RAW_EVENT_TYPES",
    "RAW_ITEMS",
    "RAW_USERS",
    "TABLES",
    "TOP_K",
    "TRAINING_INTERACTIONS",
    "USER_HISTORIES",
    "Column",
    "Columns",
    "Table",
]


class Columns:
    """Names of the columns that cross module boundaries."""

    user_id = "user_id"
    item_id = "item_id"
    event_id = "event_id"
    event_type = "event_type"
    event_at = "event_at"
    event_day = "event_day"
    weight = "weight"
    source_order = "source_order"
    score = "score"
    rank = "rank"
    source = "source"
    reason = "reason"
    contributions = "contributions"
    propensity = "propensity"
    split = "split"
    segment = "segment"


TABLES = (
    RAW_EVENTS, RAW_ITEMS, RAW_USERS, RAW_EVENT_TYPES, RAW_DOMAIN_RULES,
    OPS_FILES, OPS_PENDING_DAYS, OPS_BUILDS, QUARANTINE_ROWS,
    ITEM_TEXTS, USER_HISTORIES, TRAINING_INTERACTIONS, ITEM_EMBEDDINGS, ITEM_POPULARITY, ITEM_COOCCURRENCE,
    TOP_K, ITEM_RULES, NEARLINE_POSITIONS, LIST_FRESHNESS,
)  # fmt: skip
"""Every table that Python code writes."""
