"""The columns of landing files, before they are parsed: every cell is text here.

A landing file has the columns of its kind by name, in any order; columns that are not required may be absent.
"""

from typing import Literal

Kind = Literal["events", "items", "users"]

KINDS: tuple[Kind, ...] = ("events", "items", "users")

ROW_ERROR = "row_error"
"""Reserved column: why a source adapter could not read the row; such a row is quarantined as it is."""

LANDING_COLUMNS: dict[Kind, tuple[str, ...]] = {
    "events": (
        "event_id",
        "user_id",
        "item_id",
        "event_type",
        "event_at",
        "value",
        "session_id",
        "query",
        "surface",
        "attributes",
        "source_order",
    ),
    "items": (
        "item_id",
        "title",
        "description",
        "categories",
        "brand_or_author",
        "price",
        "currency",
        "attributes",
        "image_uri",
        "available_from",
        "available_until",
        "updated_at",
    ),
    "users": ("user_id", "age_band", "region", "attributes", "updated_at"),
}
"""Columns of each kind, in the order in which the content of a row is hashed."""

REQUIRED_COLUMNS: dict[Kind, tuple[str, ...]] = {
    "events": ("user_id", "item_id", "event_type", "event_at"),
    "items": ("item_id",),
    "users": ("user_id",),
}

TIME_COLUMNS: dict[Kind, tuple[str, ...]] = {
    "events": ("event_at",),
    "items": ("available_from", "available_until", "updated_at"),
    "users": ("updated_at",),
}

NUMBER_COLUMNS: dict[Kind, tuple[str, ...]] = {"events": ("value", "source_order"), "items": ("price",), "users": ()}
