"""Brings tables of homes made by earlier versions to the present contract.

A table is made anew instead of altered: DuckDB 1.5 with DuckLake corrupts its memory when it reads files with and
without a nested field that was added later.
"""

import duckdb

from models.schema import TOP_K, USER_HISTORIES, Table

_TYPE = """
SELECT data_type FROM duckdb_columns()
WHERE database_name = 'lake' AND schema_name = ? AND table_name = ? AND column_name = ?
"""

_LISTS = """
SELECT * REPLACE (
    list_transform(items, lambda entry: {
        'item_id': entry.item_id, 'score': entry.score, 'source': entry.source, 'reason': entry.reason,
        'contributions': NULL::STRUCT(term VARCHAR, amount DOUBLE)[], 'propensity': NULL::DOUBLE
    }) AS items
)
FROM serving.top_k
"""
_HISTORIES = "SELECT *, []::VARCHAR[] AS hidden_item_ids FROM features.user_histories"


def renew_old_tables(connection: duckdb.DuckDBPyConnection, columns: dict[Table, str]) -> None:
    """Make old tables anew: lists with null contributions and propensities, histories without hidden items.

    Args:
        connection: In a transaction, with the lake as its default database.
        columns: Columns of both tables as SQL has them.
    """
    if "propensity" not in (_type(connection, TOP_K, "items") or ""):
        connection.execute("DROP VIEW IF EXISTS serving.top_k_items")
        _renew(connection, TOP_K, _LISTS, columns[TOP_K])
    if _type(connection, USER_HISTORIES, "hidden_item_ids") is None:
        _renew(connection, USER_HISTORIES, _HISTORIES, columns[USER_HISTORIES])


def _type(connection: duckdb.DuckDBPyConnection, table: Table, column: str) -> str | None:
    found = connection.execute(_TYPE, [table.schema, table.name, column]).fetchone()
    return None if found is None else str(found[0])


def _renew(connection: duckdb.DuckDBPyConnection, table: Table, earlier: str, columns: str) -> None:
    connection.execute(f"CREATE OR REPLACE TEMP TABLE earlier AS {earlier}")
    connection.execute(f"DROP TABLE {table.qualified_name}")
    connection.execute(f"CREATE TABLE {table.qualified_name} ({columns})")
    connection.execute(f"INSERT INTO {table.qualified_name} BY NAME FROM temp.earlier")
    connection.execute("DROP TABLE temp.earlier")
