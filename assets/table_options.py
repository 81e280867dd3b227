"""Options of the lake's tables, which its catalogue keeps."""

import duckdb

from models.schema import TABLES

_GROUP_ROWS = "CALL lake.set_option('parquet_row_group_size', ?, schema => ?, table_name => ?)"


def set_group_rows(connection: duckdb.DuckDBPyConnection) -> None:
    """Have the files of tables written in row groups of the sizes that `models.schema` gives; makes no snapshot.

    Args:
        connection: In another transaction than the one that made the tables: DuckLake refuses it in that one.
    """
    for table in TABLES:
        if table.group_rows is not None:
            connection.execute(_GROUP_ROWS, [table.group_rows, table.schema, table.name])
