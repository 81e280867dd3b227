"""Brings the lists of homes made by earlier versions to the present contract.

The table is made anew instead of altered: DuckDB 1.5 with DuckLake corrupts its memory when it reads files with and
without a nested field that was added later.
"""

import duckdb

_ITEMS_TYPE = """
SELECT data_type FROM duckdb_columns()
WHERE database_name = 'lake' AND schema_name = 'serving' AND table_name = 'top_k' AND column_name = 'items'
"""

_WITH_NULLS = """
SELECT * REPLACE (
    list_transform(items, lambda entry: {
        'item_id': entry.item_id, 'score': entry.score, 'source': entry.source, 'reason': entry.reason,
        'contributions': NULL::STRUCT(term VARCHAR, amount DOUBLE)[], 'propensity': NULL::DOUBLE
    }) AS items
)
FROM serving.top_k
"""


def renew_old_lists(connection: duckdb.DuckDBPyConnection, columns: str) -> None:
    """Make `serving.top_k` anew with null contributions and propensities, where it has neither.

    Args:
        connection: In a transaction, with the lake as its default database.
        columns: Columns of the table as SQL has them.
    """
    found = connection.execute(_ITEMS_TYPE).fetchone()
    if found is None or "propensity" in found[0]:
        return
    connection.execute(f"CREATE OR REPLACE TEMP TABLE earlier_lists AS {_WITH_NULLS}")
    connection.execute("DROP VIEW IF EXISTS serving.top_k_items")
    connection.execute("DROP TABLE serving.top_k")
    connection.execute(f"CREATE TABLE serving.top_k ({columns})")
    connection.execute("INSERT INTO serving.top_k BY NAME FROM temp.earlier_lists")
    connection.execute("DROP TABLE temp.earlier_lists")
