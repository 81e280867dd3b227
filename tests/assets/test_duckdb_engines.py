import os
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from assets.duckdb_engines import borrowed_connection, extension_file
from models.errors import LakeError


def test_an_engine_is_used_again_and_nothing_of_the_last_use_is_left() -> None:
    with borrowed_connection("sqlite_scanner", "other") as first:
        first.execute("ATTACH ':memory:' AS other")
        first.execute("CREATE TEMP TABLE leftover (x INTEGER)")
    with borrowed_connection("sqlite_scanner", "other") as second:
        names = [name for (name,) in second.execute("SELECT database_name FROM duckdb_databases()").fetchall()]
        assert "other" not in names
        with pytest.raises(duckdb.CatalogException):
            second.execute("FROM leftover")


def test_two_connections_at_a_time_have_engines_of_their_own() -> None:
    with (
        borrowed_connection("sqlite_scanner", "mine") as first,
        borrowed_connection("sqlite_scanner", "mine") as second,
    ):
        first.execute("ATTACH ':memory:' AS mine")
        second.execute("ATTACH ':memory:' AS mine")
        first.execute("CREATE TABLE mine.t (x INTEGER)")
        with pytest.raises(duckdb.CatalogException):
            second.execute("FROM mine.t")


def test_a_file_written_anew_under_its_name_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    for rows in (3, 5, 50_000, 2):
        pd.DataFrame({"x": range(rows)}).to_parquet(file)
        os.utime(file, (1, 1))
        with borrowed_connection("sqlite_scanner", "lake") as connection:
            assert connection.execute(f"SELECT count(*), sum(x) FROM '{file}'").fetchone() == (
                rows,
                rows * (rows - 1) // 2,
            )


def test_an_extension_that_is_not_installed_is_named() -> None:
    with pytest.raises(LakeError, match="pip install duckdb-extension-nonsense"):
        extension_file("nonsense")
