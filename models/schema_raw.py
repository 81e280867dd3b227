"""Raw tables, the ledger of files and builds, and the quarantine."""

from models.table import Column, Table, required

_WHEN_INGESTED = (
    required("ingested_at", "TIMESTAMP", "When the row entered the lake, UTC; bookkeeping, no logic reads it."),
    required("source_file", "VARCHAR", "Name of the landing file that brought the row first."),
    required("source_row", "BIGINT", "1-based data row within that file."),
)

RAW_EVENTS = Table(
    "raw",
    "events",
    "one row per distinct source event",
    ("event_id",),
    (
        required("event_id", "VARCHAR", "Given by the source, or the content hash of the row."),
        required("user_id", "VARCHAR", "Pseudonym: keyed hash of the source's user id."),
        required("item_id", "VARCHAR", "Item id of the source."),
        required(
            "event_type",
            "VARCHAR",
            "Such as view, click, cart, purchase, cancel, rating, like, share, enroll, complete, review.",
        ),
        required("event_at", "TIMESTAMP", "When it happened, UTC."),
        required("event_day", "DATE", "UTC day of `event_at`: the partition of the event."),
        Column("value", "DOUBLE", "Rating, quantity or dwell seconds, by event type."),
        Column("session_id", "VARCHAR", "Session, basket or invoice of the source."),
        Column("query", "VARCHAR", "Search text that led to the event."),
        Column("surface", "VARCHAR", "Where it happened, such as home or search."),
        Column("attributes", "VARCHAR", "Other source columns as a JSON object."),
        Column("source_order", "BIGINT", "Order within the user as the source gives it; breaks ties of equal times."),
        *_WHEN_INGESTED,
    ),
)

RAW_ITEMS = Table(
    "raw",
    "items",
    "one row per distinct version of an item",
    ("item_id", "content_hash"),
    (
        required("item_id", "VARCHAR", "Item id of the source."),
        Column("title", "VARCHAR", "Title; an item without any text is kept and warned about."),
        Column("description", "VARCHAR", "Longer text."),
        Column("categories", "VARCHAR[]", "Category path, widest first."),
        Column("brand_or_author", "VARCHAR", "Brand, author, channel or teacher."),
        Column("price", "DOUBLE", "Price in `currency`."),
        Column("currency", "VARCHAR", "ISO 4217 code."),
        Column("attributes", "VARCHAR", "Other source columns as a JSON object."),
        Column("image_uri", "VARCHAR", "Address of a picture."),
        Column("available_from", "TIMESTAMP", "First moment it may be recommended; null: always."),
        Column("available_until", "TIMESTAMP", "First moment it may no longer be recommended; null: never ends."),
        Column("updated_at", "TIMESTAMP", "When this version became true, UTC; null sorts first."),
        required("content_hash", "VARCHAR", "Hash over the columns above: the identity of this version."),
        *_WHEN_INGESTED,
    ),
)

RAW_USERS = Table(
    "raw",
    "users",
    "one row per distinct version of a user",
    ("user_id", "content_hash"),
    (
        required("user_id", "VARCHAR", "Pseudonym: keyed hash of the source's user id."),
        Column("age_band", "VARCHAR", "Age band such as 25-34."),
        Column("region", "VARCHAR", "Country or region."),
        Column("attributes", "VARCHAR", "Other source columns as a JSON object."),
        Column("updated_at", "TIMESTAMP", "When this version became true, UTC; null sorts first."),
        required("content_hash", "VARCHAR", "Hash over the columns above: the identity of this version."),
        *_WHEN_INGESTED,
    ),
)

RAW_EVENT_TYPES = Table(
    "raw",
    "event_types",
    "one row per event type of the configured domain",
    ("event_type",),
    (
        required("event_type", "VARCHAR", "Event type."),
        required("weight", "DOUBLE", "Weight of one event as evidence of interest; below 0 it hides the item."),
    ),
)

RAW_DOMAIN_RULES = Table(
    "raw",
    "domain_rules",
    "one row: the numbers of the configured domain that SQL needs",
    ("domain",),
    (
        required("domain", "VARCHAR", "Name of the domain."),
        required("session_gap_minutes", "INTEGER", "Idle minutes that end a session; midnight UTC ends it too."),
        required(
            "duplicate_window_seconds",
            "INTEGER",
            "Repeats of user, item and type within it are one event; 0: off.",
        ),
        required("bot_events_per_day", "INTEGER", "A user with more events in one day counts as a bot on that day."),
        required("segment_by", "VARCHAR", "Column of users that segments them: age_band, region or empty."),
    ),
)

OPS_FILES = Table(
    "ops",
    "files",
    "one row per ingested file content and kind of rows",
    ("file_hash", "kind"),
    (
        required("file_hash", "VARCHAR", "SHA-256 of the file's bytes."),
        required("file_name", "VARCHAR", "Name under the landing zone when first seen."),
        required("kind", "VARCHAR", "events, items or users."),
        required("rows_in", "BIGINT", "Data rows in the file."),
        required("rows_accepted", "BIGINT", "Rows added to raw."),
        required("rows_quarantined", "BIGINT", "Rows sent to quarantine."),
        required("rows_duplicate", "BIGINT", "Rows equal to one already in raw or earlier in the file."),
        Column("first_day", "DATE", "Earliest event day in the file."),
        Column("last_day", "DATE", "Latest event day in the file."),
        required("ingested_at", "TIMESTAMP", "When, UTC."),
    ),
)

OPS_PENDING_DAYS = Table(
    "ops",
    "pending_days",
    "one row per addition of events to a day that the warehouse has not built yet; the rows of a day add up",
    ("event_day",),
    (
        required("event_day", "DATE", "Day to build; the warehouse removes it once built."),
        required("rows_added", "BIGINT", "Events added to that day, and not built yet."),
    ),
)

OPS_BUILDS = Table(
    "ops",
    "builds",
    "one row per asset: its last finished build",
    ("asset",),
    (
        required("asset", "VARCHAR", "Asset key."),
        required("fingerprint", "VARCHAR", "Hash over code version, configuration and inputs."),
        Column("as_of", "TIMESTAMP", "Time up to which data was used."),
        Column("version", "VARCHAR", "Version of what was made: content hash of an artifact, or empty."),
        Column("snapshot", "BIGINT", "Lake snapshot written."),
        required("built_at", "TIMESTAMP", "When, UTC; bookkeeping."),
        required("seconds", "DOUBLE", "How long the build took."),
    ),
)

QUARANTINE_ROWS = Table(
    "quarantine",
    "rows",
    "one row per refused source row and rule",
    ("row_id",),
    (
        required("row_id", "VARCHAR", "Hash of file hash, row number and rule."),
        required("kind", "VARCHAR", "events, items or users."),
        required("rule", "VARCHAR", "Name of the first rule that the row broke."),
        Column("column_name", "VARCHAR", "Column at fault."),
        Column("value", "VARCHAR", "Offending value, cut at 200 characters; a user id is pseudonymised."),
        required(
            "payload",
            "VARCHAR",
            "Canonical row as JSON, user id pseudonymised, cells cut at 2,000.",
        ),
        required("file_hash", "VARCHAR", "Content hash of the file."),
        required("source_file", "VARCHAR", "Name of the file."),
        required("source_row", "BIGINT", "1-based data row within the file."),
        required("quarantined_at", "TIMESTAMP", "When, UTC."),
        required("status", "VARCHAR", "open or replayed."),
        Column("replayed_at", "TIMESTAMP", "When it was accepted by a replay, UTC."),
    ),
)
