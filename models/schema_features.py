"""Feature tables and the serving tables."""

from models.table import Column, Table, required

ROWS_OF_USERS = 10_240
"""Rows of a group where single users are looked for: a fifth of the time of groups of 122,880."""

ITEM_TEXTS = Table(
    "features",
    "item_texts",
    "one row per item",
    ("item_id",),
    (
        required("item_id", "VARCHAR", "Item id."),
        required("text", "VARCHAR", "Text that the encoder reads; empty when the item has none."),
        required("text_hash", "VARCHAR", "SHA-256 of the text."),
    ),
)

USER_HISTORIES = Table(
    "features",
    "user_histories",
    "one row per user with at least one interaction or hidden item",
    ("user_id",),
    (
        required("user_id", "VARCHAR", "User."),
        required("item_ids", "VARCHAR[]", "Items in order of time, latest last."),
        required("weights", "FLOAT[]", "Weight of each interaction, aligned."),
        required("event_ats", "TIMESTAMP[]", "Time of each interaction, aligned."),
        required("hidden_item_ids", "VARCHAR[]", "Items that the user asked not to see, the last one last."),
        required("last_event_at", "TIMESTAMP", "Time of the last interaction; without any, of the last hide."),
        Column("segment", "VARCHAR", "Segment of the user, or null."),
    ),
    group_rows=ROWS_OF_USERS,
)

TRAINING_INTERACTIONS = Table(
    "features",
    "training_interactions",
    "one row per interaction used for training or evaluation",
    ("event_id",),
    (
        required("event_id", "VARCHAR", "Event."),
        required("user_id", "VARCHAR", "User."),
        required("item_id", "VARCHAR", "Item."),
        required("event_at", "TIMESTAMP", "Time."),
        required("weight", "DOUBLE", "Weight."),
        required("position", "BIGINT", "0-based order within the user by time, then source order."),
        required("split", "VARCHAR", "train, validation or test by time."),
    ),
)

ITEM_EMBEDDINGS = Table(
    "features",
    "item_embeddings",
    "one row per item",
    ("item_id",),
    (
        required("item_id", "VARCHAR", "Item id."),
        required("encoder_version", "VARCHAR", "Content hash of the encoder that made the vector."),
        required("text_hash", "VARCHAR", "Hash of the text that was encoded."),
        required("embedding", "FLOAT[]", "Unit-length vector of the encoder's dimension."),
    ),
)

ITEM_POPULARITY = Table(
    "features",
    "item_popularity",
    "one row per item and segment (empty: everyone)",
    ("segment", "item_id"),
    (
        required("segment", "VARCHAR", "Segment, empty for all users."),
        required("item_id", "VARCHAR", "Item id."),
        required("score", "DOUBLE", "Sum of weights with exponential decay by age."),
    ),
)

ITEM_COOCCURRENCE = Table(
    "features",
    "item_cooccurrence",
    "one row per item and neighbour",
    ("item_id", "neighbour_id"),
    (
        required("item_id", "VARCHAR", "Item id."),
        required("neighbour_id", "VARCHAR", "Item that the same users engaged with."),
        required("score", "DOUBLE", "Cosine of the two items' user vectors."),
    ),
)

LIST_TYPE = (
    "STRUCT(item_id VARCHAR, score DOUBLE, source VARCHAR, reason VARCHAR, "
    "contributions STRUCT(term VARCHAR, amount DOUBLE)[], propensity DOUBLE)[]"
)

TOP_K = Table(
    "serving",
    "top_k",
    "one row per surface and user",
    ("surface", "user_id"),
    (
        required("surface", "VARCHAR", "Where the list is shown, such as home."),
        required("user_id", "VARCHAR", "User."),
        required("items", LIST_TYPE, "The list, best first."),
        required("model_version", "VARCHAR", "Version of the recommender that ranked it."),
        required("index_version", "VARCHAR", "Version of the FAISS index that was searched."),
        required("input_snapshot", "BIGINT", "Lake snapshot that was read."),
        required("generated_at", "TIMESTAMP", "The `as_of` of the list, UTC."),
        required("expires_at", "TIMESTAMP", "After this moment the list must not be shown, UTC."),
        required("lane", "VARCHAR", "batch or nearline."),
        Column(
            "last_event_at",
            "TIMESTAMP",
            "Latest event that the list reflects; null for a user without one.",
        ),
    ),
    group_rows=ROWS_OF_USERS,
)

ITEM_RULES = Table(
    "serving",
    "item_rules",
    "one row per business rule",
    ("rule_id",),
    (
        required("rule_id", "VARCHAR", "Name of the rule."),
        required("action", "VARCHAR", "pin, block or boost."),
        required("field", "VARCHAR", "item_id, category or brand_or_author."),
        required("match", "VARCHAR", "Value of that field that the rule applies to."),
        Column("amount", "DOUBLE", "boost: added to the fused score; pin: 1-based position; block: unused."),
        Column("surface", "VARCHAR", "Only on this surface; null: on all."),
        Column("valid_from", "TIMESTAMP", "First moment; null: always."),
        Column("valid_until", "TIMESTAMP", "End, exclusive; null: never ends."),
    ),
)
