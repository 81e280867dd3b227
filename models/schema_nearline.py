"""Tables of the nearline lane: how far sources were read, and how fresh lists were."""

from models.table import Column, Table, required

NEARLINE_POSITIONS = Table(
    "ops",
    "nearline_positions",
    "one row per batch and partition of a stream; of a partition the row with the most `rows_in` counts",
    ("source", "partition", "rows_in"),
    (
        required("source", "VARCHAR", "Name of the stream, such as redis:events."),
        required("partition", "VARCHAR", "Partition of the stream; empty where it has none."),
        required("position", "VARCHAR", "Last entry whose rows are in the lake, in the source's own terms."),
        required("epoch", "BIGINT", "Term of the leader that wrote it; one of an earlier term may not write any more."),
        required("rows_in", "BIGINT", "Entries read so far."),
        required("rows_accepted", "BIGINT", "Of these, rows added to raw."),
        required("rows_quarantined", "BIGINT", "Of these, rows sent to quarantine."),
        required("rows_duplicate", "BIGINT", "Of these, rows that raw had already."),
        required("updated_at", "TIMESTAMP", "When, UTC; bookkeeping."),
    ),
)

LIST_FRESHNESS = Table(
    "ops",
    "list_freshness",
    "one row per user and nearline batch that renewed the list",
    ("user_id", "committed_at"),
    (
        required("user_id", "VARCHAR", "User."),
        required("surface", "VARCHAR", "Surface of the list."),
        required("source", "VARCHAR", "Source of the events."),
        required("events", "BIGINT", "New events of the user in the batch."),
        Column("event_at", "TIMESTAMP", "Latest of them, UTC."),
        Column("arrived_at", "TIMESTAMP", "When the first of them arrived at the source, UTC."),
        required("committed_at", "TIMESTAMP", "When the transaction with the list was about to be committed, UTC."),
    ),
)
