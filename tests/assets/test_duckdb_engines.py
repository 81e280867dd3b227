import os
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from assets.duckdb_engines import borrowed_connection, extension_file
from assets.lake import Lake
from models.errors import LakeError


def test_an_engine_is_used_again_and_nothing_of_the_last_use_is_left(tmp_path: Path) -> None:
    with borrowed_connection("sqlite_scanner", "other", tmp_path) as first:
        first.execute("ATTACH ':memory:' AS other")
        first.execute("CREATE TEMP TABLE leftover (x INTEGER)")
    with borrowed_connection("sqlite_scanner", "other", tmp_path) as second:
        names = [name for (name,) in second.execute("SELECT database_name FROM duckdb_databases()").fetchall()]
        assert "other" not in names
        with pytest.raises(duckdb.CatalogException):
            second.execute("FROM leftover")


def test_two_connections_at_a_time_have_engines_of_their_own(tmp_path: Path) -> None:
    with (
        borrowed_connection("sqlite_scanner", "mine", tmp_path) as first,
        borrowed_connection("sqlite_scanner", "mine", tmp_path) as second,
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
        with borrowed_connection("sqlite_scanner", "lake", tmp_path) as connection:
            assert connection.execute(f"SELECT count(*), sum(x) FROM '{file}'").fetchone() == (
                rows,
                rows * (rows - 1) // 2,
            )


def test_an_engine_that_has_spilled_serves_the_next_connection(tmp_path: Path) -> None:
    lake = Lake(f"sqlite:{tmp_path}/catalogue.sqlite", tmp_path / "data", tmp_path / "lock", memory_limit="60MB")
    lake.create_tables()
    for _ in range(2):
        with lake.connect() as connection:
            connection.execute("SET threads = 1")
            connection.execute("CREATE TEMP TABLE t AS SELECT i, md5(i::VARCHAR) AS h FROM range(1_500_000) AS r(i)")
            assert any(lake.staging_path.rglob("*.tmp")), "nothing was spilled"
            assert connection.execute("SELECT count(*) FROM t").fetchone() == (1_500_000,)


def test_an_extension_that_is_not_installed_is_named() -> None:
    with pytest.raises(LakeError, match="pip install duckdb-extension-nonsense"):
        extension_file("nonsense")
