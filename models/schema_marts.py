"""The tables that dbt publishes; its contracts must equal these."""

from models.table import Column, Table, required

_OF_AN_EVENT = (
    required("event_id", "VARCHAR", "Event."),
    required("user_id", "VARCHAR", "User."),
    required("item_id", "VARCHAR", "Item."),
    required("event_type", "VARCHAR", "Type."),
    required("event_at", "TIMESTAMP", "Time, UTC."),
    required("event_day", "DATE", "Partition."),
)

MARTS = (
    Table(
        "marts",
        "interactions",
        "one row per user, item and event that counts as interest",
        ("event_id",),
        (
            *_OF_AN_EVENT,
            required("weight", "DOUBLE", "Evidence of interest, above 0."),
            Column("value", "DOUBLE", "Rating, net quantity or dwell seconds."),
            required("session_id", "VARCHAR", "Session computed by the warehouse."),
            Column("source_order", "BIGINT", "Order within the user as the source gives it."),
        ),
    ),
    Table(
        "marts",
        "hides",
        "one row per event by which a user hid an item",
        ("event_id",),
        (
            *_OF_AN_EVENT,
            required("weight", "DOUBLE", "That of the event type, below 0."),
            Column("source_order", "BIGINT", "Order within the user as the source gives it."),
        ),
    ),
    Table(
        "marts",
        "sessions",
        "one row per session",
        ("session_id",),
        (
            required("session_id", "VARCHAR", "Hash of user and start."),
            required("user_id", "VARCHAR", "User."),
            required("event_day", "DATE", "Partition."),
            required("started_at", "TIMESTAMP", "First event."),
            required("ended_at", "TIMESTAMP", "Last event."),
            required("count_interactions", "BIGINT", "Interactions in it."),
            required("count_items", "BIGINT", "Distinct items in it."),
        ),
    ),
    Table(
        "marts",
        "item_daily_stats",
        "one row per item and day with interactions",
        ("item_id", "event_day"),
        (
            required("item_id", "VARCHAR", "Item."),
            required("event_day", "DATE", "Partition."),
            required("count_interactions", "BIGINT", "Interactions."),
            required("count_users", "BIGINT", "Distinct users."),
            required("sum_weight", "DOUBLE", "Sum of weights."),
        ),
    ),
    Table(
        "marts",
        "items",
        "one row per item: its latest version",
        ("item_id",),
        (
            required("item_id", "VARCHAR", "Item."),
            Column("title", "VARCHAR", "Title, HTML entities decoded."),
            Column("description", "VARCHAR", "Longer text."),
            Column("categories", "VARCHAR[]", "Category path, widest first."),
            Column("category", "VARCHAR", "Narrowest category."),
            Column("brand_or_author", "VARCHAR", "Brand, author, channel or teacher."),
            Column("price", "DOUBLE", "Price in `currency`."),
            Column("currency", "VARCHAR", "ISO 4217 code."),
            Column("available_from", "TIMESTAMP", "First moment it may be recommended."),
            Column("available_until", "TIMESTAMP", "First moment it may no longer be recommended."),
            Column("updated_at", "TIMESTAMP", "When this version became true."),
            Column("first_event_at", "TIMESTAMP", "First interaction; null for a cold item."),
            required("count_interactions", "BIGINT", "Interactions ever; 0 for a cold item."),
        ),
    ),
    Table(
        "marts",
        "users",
        "one row per user with an interaction or attributes",
        ("user_id",),
        (
            required("user_id", "VARCHAR", "User."),
            Column("segment", "VARCHAR", "Value of the attribute that the domain segments by."),
            Column("age_band", "VARCHAR", "Age band."),
            Column("region", "VARCHAR", "Country or region."),
            Column("first_event_at", "TIMESTAMP", "First interaction."),
            Column("last_event_at", "TIMESTAMP", "Last interaction."),
            required("count_interactions", "BIGINT", "Interactions ever."),
        ),
    ),
)
"""The tables that dbt publishes; its contracts must equal these."""
