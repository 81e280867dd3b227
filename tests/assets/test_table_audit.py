"""A small lake in which every contract holds, and one fault at a time planted into it."""

from collections.abc import Iterator

import duckdb
import pytest

from assets.table_audit import audit
from models.errors import LakeError
from models.schema import MARTS, TABLES
from quality.boundaries import contracts
from quality.contracts import Contract
from quality.top_k_rules import ListPromise

ANN, BOB = "a" * 32, "b" * 32
CONTRACTS = contracts(ListPromise(top_k=2, exclude_seen=True, surface="home"), embedding_dimension=2)

# Ann viewed p and q, Bob viewed p; r and s are left for Ann, q, r and s for Bob.
HEALTHY = f"""
INSERT INTO raw.event_types VALUES ('view', 1.0);
INSERT INTO raw.events BY NAME SELECT *, CAST(event_at AS DATE) AS event_day FROM (VALUES
    ('e1', '{ANN}', 'p', TIMESTAMP '2026-03-01 10:00:00', 1), ('e2', '{ANN}', 'q', TIMESTAMP '2026-03-02 11:00:00', 2),
    ('e3', '{BOB}', 'p', TIMESTAMP '2026-03-03 12:00:00', 3)) AS given(event_id, user_id, item_id, event_at, source_row)
    CROSS JOIN (SELECT 'view' AS event_type, TIMESTAMP '2026-03-04' AS ingested_at, 'e.csv' AS source_file);
INSERT INTO raw.items BY NAME SELECT unnest(['p', 'q', 'r', 's']) AS item_id, 'title' AS title, 'h' AS content_hash,
    TIMESTAMP '2026-03-04' AS ingested_at, 'i.csv' AS source_file, 1 AS source_row;
INSERT INTO quarantine.rows BY NAME SELECT 'x' AS row_id, 'events' AS kind, 'user_id_is_present' AS rule,
    '{{}}' AS payload, 'f1' AS file_hash, 'e.csv' AS source_file, 4 AS source_row,
    TIMESTAMP '2026-03-04' AS quarantined_at, 'open' AS status;
INSERT INTO ops.files VALUES
    ('f1', 'e.csv', 'events', 104, 3, 1, 100, NULL, NULL, TIMESTAMP '2026-03-04'),
    ('f2', 'i.csv', 'items', 4, 4, 0, 0, NULL, NULL, TIMESTAMP '2026-03-04');
INSERT INTO marts.interactions BY NAME SELECT event_id, user_id, item_id, event_type, event_at, event_day,
    1.0 AS weight, event_id AS session_id FROM raw.events;
INSERT INTO marts.sessions SELECT session_id, user_id, event_day, event_at, event_at, 1, 1 FROM marts.interactions;
INSERT INTO marts.item_daily_stats SELECT item_id, event_day, 1, 1, 1.0 FROM marts.interactions;
INSERT INTO marts.items BY NAME SELECT item_id, title, 0 AS count_interactions FROM raw.items;
INSERT INTO marts.users BY NAME SELECT user_id, count(*) AS count_interactions, min(event_at) AS first_event_at,
    max(event_at) AS last_event_at FROM marts.interactions GROUP BY user_id;
INSERT INTO features.item_texts SELECT item_id, title, sha256(title) FROM marts.items;
INSERT INTO features.user_histories BY NAME SELECT user_id, list(item_id ORDER BY event_at) AS item_ids,
    list(1.0 ORDER BY event_at) AS weights, list(event_at ORDER BY event_at) AS event_ats, [] AS hidden_item_ids,
    max(event_at) AS last_event_at FROM marts.interactions GROUP BY user_id;
INSERT INTO features.training_interactions SELECT event_id, user_id, item_id, event_at, weight,
    row_number() OVER (PARTITION BY user_id ORDER BY event_at) - 1,
    ['train', 'validation', 'test'][day(event_at)] FROM marts.interactions;
INSERT INTO features.item_popularity VALUES ('', 'p', 2.0), ('', 'q', 1.0);
INSERT INTO features.item_cooccurrence VALUES ('p', 'q', 0.7), ('q', 'p', 0.7);
INSERT INTO features.item_embeddings SELECT item_id, 'encoder', text_hash, [0.6, 0.8] FROM features.item_texts;
INSERT INTO serving.top_k
SELECT 'home', user_id, items, 'model', 'index', 1, TIMESTAMP '2026-03-04', TIMESTAMP '2026-03-06', 'batch', NULL
FROM (VALUES
    ('{ANN}', [{{'item_id': 'r', 'score': 0.9, 'source': 'als', 'reason': ''}},
               {{'item_id': 's', 'score': 0.9, 'source': 'als', 'reason': ''}}]),
    ('{BOB}', [{{'item_id': 'q', 'score': 0.8, 'source': 'als', 'reason': ''}},
               {{'item_id': 'r', 'score': 0.5, 'source': 'als', 'reason': ''}}])) AS lists(user_id, items);
"""


# Bob hides an item; his list is of 4 March.
HIDE = f"""INSERT INTO marts.hides BY NAME SELECT 'h' AS event_id, '{BOB}' AS user_id, '{{0}}' AS item_id,
    'hide' AS event_type, TIMESTAMP '2026-{{1}}' AS event_at, event_at::DATE AS event_day, -1.0 AS weight;
"""

VIEW = """CREATE VIEW serving.top_k_items AS
SELECT surface, user_id, unnest(items).item_id AS item_id, unnest(range(1, len(items) + 1)) AS rank
FROM serving.top_k"""


@pytest.fixture
def healthy() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("ATTACH ':memory:' AS lake; USE lake")
        for table in (*TABLES, *MARTS):
            columns = ", ".join(f'"{column.name}" {column.type}' for column in table.columns)
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {table.schema}")
            connection.execute(f"CREATE TABLE {table.qualified_name} ({columns})")
        connection.execute(HEALTHY)
        connection.execute(VIEW)
        yield connection


def failures(connection: duckdb.DuckDBPyConnection, contract: Contract) -> dict[str, float]:
    """Number of offenders by failed check."""
    found: dict[str, float] = {}
    for rule in audit(connection, contract).rules:
        if not rule.passed:
            found[rule.check] = found.get(rule.check, 0) + rule.unexpected
    return found


@pytest.mark.parametrize("asset", list(CONTRACTS))
def test_a_healthy_table_keeps_its_contract(healthy: duckdb.DuckDBPyConnection, asset: str) -> None:
    assert failures(healthy, CONTRACTS[asset]) == {}


LIST = (
    "UPDATE serving.top_k SET items = list_transform(items, lambda entry: struct_update(entry, {})) "
    "WHERE user_id = '{}'"
)
NEARLINE = f"""
UPDATE serving.top_k SET lane = 'nearline' WHERE user_id = '{BOB}';
INSERT INTO raw.items BY NAME SELECT * REPLACE ('t' AS item_id) FROM raw.items WHERE item_id = 's';
INSERT INTO raw.events BY NAME SELECT * REPLACE (
    'w' || item.item_id AS event_id, item.item_id AS item_id, TIMESTAMP '2026-03-04' AS event_at,
    DATE '2026-03-04' AS event_day
) FROM raw.events CROSS JOIN (SELECT unnest(['q', 's']) AS item_id) AS item WHERE event_id = 'e3';
INSERT INTO ops.pending_days VALUES (DATE '2026-03-04', 2);
"""
LATER = f"UPDATE serving.top_k SET lane = 'nearline', generated_at = '2026-03-05' WHERE user_id = '{BOB}';"
FAULTS = [
    ("raw_events", "INSERT INTO raw.events SELECT * FROM raw.events WHERE event_id = 'e1'",
     {"event_ids_are_unique": 1, "every_file_is_conserved": 1}),
    ("raw_events", "UPDATE raw.events SET user_id = 'ann@example.org' WHERE event_id = 'e1'",
     {"no_source_user_id_appears": 1}),
    ("raw_events", "UPDATE raw.events SET event_type = 'wink' WHERE event_id = 'e1'",
     {"event_types_are_known": 1}),
    ("raw_events", "UPDATE raw.events SET event_day = '2026-03-02' WHERE event_id = 'e1'",
     {"event_days_match_event_times": 1}),
    ("raw_events", "UPDATE raw.events SET value = 'nan' WHERE event_id < 'e3'", {"values_are_finite": 2}),
    ("raw_events", "UPDATE raw.events SET item_id = ' ' WHERE event_id = 'e1'", {"ids_are_not_blank": 1}),
    ("raw_events", "UPDATE raw.events SET ingested_at = '2026-03-07'", {"events_are_fresh": 84}),
    ("raw_events", "UPDATE raw.events SET ingested_at = '2029-03-07'", {}),
    ("raw_events", "DELETE FROM raw.events WHERE event_id = 'e2'", {"every_file_is_conserved": 1}),
    ("raw_events", "UPDATE ops.files SET rows_in = 105 WHERE kind = 'events'", {"every_file_is_conserved": 1}),
    ("raw_events", "DELETE FROM quarantine.rows", {"every_file_is_conserved": 1}),
    ("raw_events", "UPDATE ops.files SET rows_in = 10, rows_duplicate = 6 WHERE kind = 'events'",
     {"quarantine_rate_is_low": 10}),
    ("raw_events", "DELETE FROM raw.events; DELETE FROM ops.files; DELETE FROM quarantine.rows",
     {"rows_exist": 0}),
    ("raw_items", "UPDATE raw.items SET title = '' WHERE item_id = 'p'", {"items_have_text": 1}),
    ("raw_items", "UPDATE raw.items SET price = -1 WHERE item_id = 'p'", {"prices_are_not_negative": 1}),
    ("raw_items", "ALTER TABLE raw.items DROP COLUMN brand_or_author", {"columns_match_the_contract": 1}),
    ("interactions", "UPDATE marts.interactions SET weight = 0 WHERE event_id = 'e1'",
     {"weights_are_positive": 1}),
    ("interactions", "UPDATE marts.interactions SET session_id = NULL", {"required_columns_are_filled": 3}),
    ("sessions", "DELETE FROM marts.sessions WHERE session_id = 'e1'",
     {"every_interaction_has_its_session": 1, "sessions_count_every_interaction": 1}),
    ("items", "DELETE FROM marts.items WHERE item_id = 'p'",
     {"every_raw_item_is_published": 1, "every_used_item_is_in_the_catalogue": 1}),
    ("users", f"DELETE FROM marts.users WHERE user_id = '{ANN}'",
     {"every_active_user_is_listed": 1, "users_count_every_interaction": 2}),
    ("item_texts", "UPDATE features.item_texts SET text = 'other' WHERE item_id = 'p'",
     {"text_hashes_match_the_texts": 1}),
    ("user_histories", "UPDATE features.user_histories SET event_ats = list_reverse(event_ats)",
     {"histories_are_in_order_of_time": 1, "histories_end_at_the_last_event": 1}),
    ("user_histories", "UPDATE features.user_histories SET weights = [1.0]", {"histories_are_aligned": 1}),
    ("training_interactions", "UPDATE features.training_interactions SET split = 'train' WHERE event_id = 'e3'",
     {"splits_do_not_overlap_in_time": 1}),
    ("training_interactions", "UPDATE features.training_interactions SET position = 5 WHERE event_id = 'e2'",
     {"positions_are_contiguous": 1}),
    ("item_cooccurrence", "UPDATE features.item_cooccurrence SET neighbour_id = item_id",
     {"no_item_is_its_own_neighbour": 2}),
    ("item_embeddings", "UPDATE features.item_embeddings SET embedding = [0.6, 0.8, 0.0] WHERE item_id = 'p'",
     {"dimensions_equal_the_encoders": 1}),
    ("item_embeddings", "UPDATE features.item_embeddings SET embedding = [0.6, 0.9] WHERE item_id = 'p'",
     {"vectors_have_unit_length": 1}),
    ("item_embeddings", "UPDATE features.item_embeddings SET embedding = [0.6, 'nan'::FLOAT] WHERE item_id = 'p'",
     {"vectors_are_finite": 1, "vectors_have_unit_length": 1}),
    ("item_embeddings", "UPDATE features.item_embeddings SET embedding = [0, 0] WHERE item_id = 'p'",
     {"vectors_have_unit_length": 1}),
    ("item_embeddings", "DELETE FROM features.item_embeddings WHERE item_id = 'p'",
     {"every_item_with_text_has_a_vector": 1}),
    ("item_embeddings", "UPDATE features.item_embeddings SET encoder_version = 'old' WHERE item_id = 'p'",
     {"vectors_come_from_one_encoder": 1}),
    ("item_embeddings", "UPDATE features.item_embeddings SET text_hash = 'old' WHERE item_id = 'p'",
     {"vectors_are_of_the_current_texts": 1}),
    ("top_k", f"DELETE FROM serving.top_k WHERE user_id = '{ANN}'", {"every_active_user_has_a_list": 1}),
    ("top_k", f"UPDATE serving.top_k SET items = items[:1] WHERE user_id = '{ANN}'",
     {"every_list_is_complete": 1}),
    ("top_k", LIST.format("item_id := 'r'", ANN), {"items_are_distinct": 1}),
    ("top_k", LIST.format("item_id := replace(entry.item_id, 'q', 'p')", BOB), {"items_are_unseen": 1}),
    ("top_k", HIDE.format("q", "03-02"), {"items_are_unseen": 1}),
    ("top_k", HIDE.format("q", "03-04"), {}),
    ("top_k", LIST.format("score := CASE WHEN entry.item_id = 'r' THEN 0.1 ELSE 0.2 END", ANN),
     {"scores_are_ordered": 1}),
    ("top_k", LIST.format("contributions := [{'term': 'als', 'amount': 0.5}, {'term': 'other', 'amount': 0.4}]", ANN),
     {}),
    ("top_k", LIST.format("contributions := [{'term': 'als', 'amount': 0.8}]", ANN),
     {"terms_add_up_to_the_score": 1}),
    ("top_k", LIST.format("propensity := 0.0", BOB), {"propensities_are_probabilities": 1}),
    ("top_k", LIST.format("score := 'nan'::DOUBLE", ANN), {"scores_are_finite": 1}),
    ("top_k", "UPDATE marts.items SET available_until = '2026-03-04' WHERE item_id = 'q'",
     {"items_are_available": 1}),
    ("top_k", "INSERT INTO serving.item_rules VALUES ('no s', 'block', 'item_id', 's', NULL, 'home', NULL, NULL)",
     {"every_list_is_complete": 1, "items_are_not_blocked": 1}),
    ("top_k", "INSERT INTO serving.item_rules VALUES ('no s', 'block', 'item_id', 's', NULL, 'cart', NULL, NULL)",
     {}),
    ("top_k", f"UPDATE serving.top_k SET expires_at = '2026-03-04' WHERE user_id = '{ANN}'",
     {"lists_are_not_expired": 1}),
    ("top_k", "UPDATE serving.top_k SET model_version = ''", {"lists_name_their_model": 2}),
    # The warehouse has yet to build what the nearline lane knows: that Bob has seen all but r, that t is new.
    ("top_k", f"{NEARLINE}UPDATE serving.top_k SET items = items[2:] WHERE user_id = '{BOB}'", {}),
    ("top_k", NEARLINE, {}),
    ("top_k", f"{NEARLINE}UPDATE serving.top_k SET items = [] WHERE user_id = '{BOB}'",
     {"every_list_is_complete": 1}),
    ("top_k", f"{NEARLINE}UPDATE serving.top_k SET items = items[:1] WHERE user_id = '{ANN}'",
     {"every_list_is_complete": 1}),
    ("top_k", NEARLINE + LIST.format("item_id := replace(entry.item_id, 'r', 't')", BOB), {}),
    ("top_k", NEARLINE + LIST.format("item_id := replace(entry.item_id, 's', 't')", ANN),
     {"items_are_available": 1}),
    ("top_k", NEARLINE + LIST.format("item_id := replace(entry.item_id, 'q', 'p')", BOB), {"items_are_unseen": 1}),
    # The nearline lane has gone on as time passed, and made Bob's list without what ended since; Ann's waits for it.
    ("top_k", f"{LATER}UPDATE marts.items SET available_until = '2026-03-05' WHERE item_id = 's'", {}),
    ("top_k", f"{LATER}UPDATE marts.items SET available_until = '2026-03-05' WHERE item_id = 'q'",
     {"items_are_available": 1}),
    ("top_k", f"{LATER}UPDATE serving.top_k SET expires_at = '2026-03-05' WHERE user_id = '{ANN}'",
     {"lists_are_not_expired": 1}),
    # One unseen item is left: a list of one is all that can be promised.
    ("top_k", f"UPDATE marts.items SET available_until = '2026-03-04' WHERE item_id = 's'; "
     f"UPDATE serving.top_k SET items = items[:1] WHERE user_id = '{ANN}'", {}),
]  # fmt: skip


@pytest.mark.parametrize(("asset", "fault", "expected"), FAULTS)
def test_a_planted_fault_is_found_and_counted(
    healthy: duckdb.DuckDBPyConnection, asset: str, fault: str, expected: dict[str, float]
) -> None:
    healthy.execute(fault)
    assert failures(healthy, CONTRACTS[asset]) == expected


def test_a_domain_that_repeats_items_may_list_seen_ones(healthy: duckdb.DuckDBPyConnection) -> None:
    """Not those that were hidden since they were seen."""
    promise = contracts(ListPromise(top_k=2, exclude_seen=False))["top_k"]
    healthy.execute(LIST.format("item_id := replace(entry.item_id, 'q', 'p')", BOB))
    assert failures(healthy, promise) == {}
    healthy.execute(HIDE.format("p", "03-02 12:00:00"))
    assert failures(healthy, promise) == {}
    healthy.execute(HIDE.format("p", "03-03 13:00:00"))
    assert failures(healthy, promise) == {"items_are_unseen": 1}


def test_a_table_that_is_not_there_is_named(healthy: duckdb.DuckDBPyConnection) -> None:
    healthy.execute("DROP TABLE marts.interactions")
    with pytest.raises(LakeError, match=r"marts\.interactions.*Materialise interactions"):
        failures(healthy, CONTRACTS["interactions"])
