import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from assets.lake import Lake
from assets.pseudonyms import pseudonymise

_PAGE = Path(__file__).parents[2] / "docs" / "reading-lists.md"
_PYTHON = re.findall(r"```python\n(.*?)```", _PAGE.read_text(), flags=re.DOTALL)
_SQL = re.findall(r"```sql\n(.*?)```", _PAGE.read_text(), flags=re.DOTALL)


@pytest.fixture
def served(lake: Lake) -> Iterator[Lake]:
    """A lake with the list a, b of one user; the default connection is clean before and after."""

    def insert(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute(
            "INSERT INTO serving.top_k VALUES ('home', 'USER', [{'item_id': 'a', 'score': 2.0, 'source': 's', "
            "'reason': 'r'}, {'item_id': 'b', 'score': 1.0, 'source': 's', 'reason': 'r'}], "
            "'m', 'i', 1, '2026-01-01', '2026-01-02', 'batch', NULL)"
        )

    lake.write(insert, message="lists")
    yield lake
    duckdb.sql("DETACH DATABASE IF EXISTS lake")


def _run(snippet: str, lake: Lake) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(snippet.replace("sqlite:.freshet/lake/catalogue.sqlite", lake.catalogue), names)
    return names


def test_python_and_sql_read_one_list(served: Lake) -> None:
    assert _run(_PYTHON[0], served)["items"] == [("a",), ("b",)]
    assert duckdb.sql(_SQL[0]).fetchall() == [("USER", 1, "a", 2.0, "r"), ("USER", 2, "b", 1.0, "r")]


def test_pandas_reads_all_lists(served: Lake) -> None:
    lists = _run(_PYTHON[1], served)["lists"]
    assert lists[["user_id", "rank", "item_id"]].values.tolist() == [["USER", 1, "a"], ["USER", 2, "b"]]


def test_polars_reads_all_lists(served: Lake) -> None:
    assert _run(_PYTHON[2], served)["lists"].rows() == [("USER", ["a", "b"])]


def test_the_pseudonym_is_what_ingestion_computes(served: Lake) -> None:
    assert _run(_PYTHON[3], served)["user_id"] == pseudonymise("u-000042", "freshet-demo-key")


def test_a_service_reads_the_list(served: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRESHET_HOME", str(tmp_path))
    found = _run(_PYTHON[4], served)["found"]
    assert (found.origin, found.list.item_ids) == ("lake", ("a", "b"))


def test_snippets_have_five_lines_at_most() -> None:
    assert all(len(snippet.strip().splitlines()) <= 5 for snippet in (*_PYTHON, *_SQL))
