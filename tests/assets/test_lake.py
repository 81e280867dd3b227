import errno
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from filelock import FileLock

from assets.lake import Lake
from assets.table_options import set_group_rows
from models.errors import LakeError, LakeLockedError
from models.schema import ITEM_TEXTS, TABLES

ASKED: list[int] = []
TEXTS = pd.DataFrame({"item_id": ["a", "b"], "text": ["tea", "cup"], "text_hash": ["1", "2"]})


def test_creating_tables_twice_changes_nothing(lake: Lake) -> None:
    lake.replace_table(ITEM_TEXTS, TEXTS)
    lake.create_tables()
    assert lake.frame("SELECT count(*) AS n FROM features.item_texts")["n"].tolist() == [2]
    made = lake.frame("SELECT table_schema || '.' || table_name AS t FROM information_schema.tables")["t"]
    assert {table.qualified_name for table in TABLES} <= set(made)


def test_tables_of_users_are_written_in_small_groups(lake: Lake) -> None:
    day = "TIMESTAMP '2026-01-01'"
    rows = f"SELECT 'u' || i, ['a'], [1.0], [{day}], [], {day}, NULL FROM range(30000) r(i)"
    insert = f"INSERT INTO features.user_histories {rows}"
    before = lake.write(lambda connection: connection.execute(insert) and None, message="histories").snapshot
    assert lake.write(set_group_rows, message="again").snapshot == before
    (file,) = (lake.data_path / "features" / "user_histories").glob("*.parquet")
    groups = duckdb.sql(f"SELECT DISTINCT row_group_id, row_group_num_rows FROM parquet_metadata('{file}') ORDER BY 1")
    assert [rows for _, rows in groups.fetchall()] == [10_240, 10_240, 9_520]


def test_an_old_snapshot_can_be_read(lake: Lake) -> None:
    first = lake.replace_table(ITEM_TEXTS, TEXTS)
    lake.replace_table(ITEM_TEXTS, TEXTS.head(1))
    assert len(lake.frame("FROM features.item_texts")) == 1
    assert len(lake.frame("FROM features.item_texts", snapshot=first)) == 2


def test_a_failing_write_leaves_nothing(lake: Lake) -> None:
    def fail(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("INSERT INTO features.item_texts VALUES ('a', 'tea', '1')")
        raise OSError(errno.EIO, "pulled plug")

    with pytest.raises(OSError, match="pulled plug"):
        lake.write(fail, message="fails")
    assert lake.frame("FROM features.item_texts").empty


def test_fingerprint_ignores_row_order_and_bookkeeping(lake: Lake) -> None:
    lake.replace_table(ITEM_TEXTS, TEXTS)
    before = lake.fingerprint("features.item_texts")
    lake.replace_table(ITEM_TEXTS, TEXTS.iloc[::-1])
    assert lake.fingerprint("features.item_texts") == before
    lake.replace_table(ITEM_TEXTS, TEXTS.assign(text="other"))
    assert lake.fingerprint("features.item_texts") != before
    assert lake.fingerprint("features.item_texts", exclude=["text"]) == lake.fingerprint(
        "features.item_texts", exclude=["text"]
    )


def test_fingerprint_of_a_missing_table_is_absent(lake: Lake) -> None:
    assert lake.fingerprint("features.nothing") == "absent"


def test_a_held_lock_is_named(lake: Lake) -> None:
    impatient = Lake(lake.catalogue, lake.data_path, lake.lock_path, lock_timeout_s=0.1)
    with (
        FileLock(lake.lock_path, is_singleton=False),
        pytest.raises(LakeLockedError, match=r"write\.lock"),
    ):
        impatient.replace_table(ITEM_TEXTS, TEXTS)


def test_a_frame_without_a_column_is_refused(lake: Lake) -> None:
    with pytest.raises(LakeError, match="lacks text_hash"):
        lake.replace_table(ITEM_TEXTS, TEXTS.drop(columns="text_hash"))


def test_orphans_of_a_killed_writer_are_removed_and_data_stays(lake: Lake) -> None:
    lake.replace_table(ITEM_TEXTS, TEXTS)
    data_file = next(lake.data_path.rglob("*.parquet"))
    orphan = data_file.with_name("ducklake-orphan.parquet")
    orphan.write_bytes(data_file.read_bytes())
    lake.remove_orphans()
    assert not orphan.exists()
    assert len(lake.frame("FROM features.item_texts")) == 2


def test_lists_are_unnested_by_the_view(lake: Lake) -> None:
    def insert(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute(
            "INSERT INTO serving.top_k VALUES ('home', 'u', [{'item_id': 'a', 'score': 2.0, 'source': 's', "
            "'reason': 'r'}, {'item_id': 'b', 'score': 1.0, 'source': 's', 'reason': 'r'}], "
            "'m', 'i', 1, '2026-01-01', '2026-01-02', 'batch', NULL)"
        )

    lake.write(insert, message="lists")
    rows = lake.frame("SELECT rank, item_id FROM serving.top_k_items ORDER BY rank")
    assert list(rows.itertuples(index=False, name=None)) == [(1, "a"), (2, "b")]


def test_lists_of_an_earlier_version_stay_readable(lake: Lake) -> None:
    def make_old(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("DROP VIEW serving.top_k_items")
        connection.execute("DROP TABLE serving.top_k")
        entry = "STRUCT(item_id VARCHAR, score DOUBLE, source VARCHAR, reason VARCHAR)"
        connection.execute(
            f"CREATE TABLE serving.top_k (surface VARCHAR, user_id VARCHAR, items {entry}[], model_version VARCHAR, "
            "index_version VARCHAR, input_snapshot BIGINT, generated_at TIMESTAMP, expires_at TIMESTAMP, "
            "lane VARCHAR, last_event_at TIMESTAMP)"
        )
        connection.execute(
            "INSERT INTO serving.top_k VALUES ('home', 'u', [{'item_id': 'a', 'score': 2.0, 'source': 's', "
            "'reason': 'r'}], 'm', 'i', 1, '2026-01-01', '2026-01-02', 'batch', NULL)"
        )

    lake.write(make_old, message="as it was")
    lake.create_tables()
    lake.write(
        lambda connection: connection.execute(
            "INSERT INTO serving.top_k BY NAME SELECT * REPLACE ('v' AS user_id, list_transform(items, lambda e: {"
            "'item_id': 'b', 'score': e.score, 'source': e.source, 'reason': e.reason, "
            "'contributions': [{'term': 's', 'amount': 2.0}], 'propensity': 1.0}) AS items) FROM serving.top_k"
        ),
        message="a list of today",
    )
    rows = lake.frame("SELECT user_id, item_id, contributions, propensity FROM serving.top_k_items ORDER BY user_id")
    assert rows["item_id"].tolist() == ["a", "b"]
    assert rows.loc[0, ["contributions", "propensity"]].isna().all()
    assert rows.loc[1, "propensity"] == 1.0


@pytest.mark.parametrize(
    "catalogue",
    [
        "postgres:dbname=lake host=127.0.0.1 port=1 user=freshet password=hunter2",
        "postgres:dbname=lake host=127.0.0.1 port=1 user=freshet password='hunter2 and more'",
        "postgres:postgresql://freshet:hunter2@127.0.0.1:1/lake",
    ],
)
def test_a_catalogue_that_does_not_answer_is_told_without_its_password(
    catalogue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lake = Lake(catalogue, tmp_path / "data", tmp_path / "lock")
    with pytest.raises(LakeError) as caught:
        lake.current_snapshot()
    told = "".join(traceback.format_exception(caught.value))
    assert "127.0.0.1" in told
    assert "hunter2" not in told
    assert "and more" not in told
    assert not any("postgres" in path.name for path in tmp_path.iterdir())


def test_a_catalogue_that_is_no_database_is_explained(tmp_path: Path) -> None:
    broken = tmp_path / "catalogue.sqlite"
    broken.write_text("not a database, although it has the name of one")
    lake = Lake(f"sqlite:{broken}", tmp_path / "data", tmp_path / "write.lock")
    with pytest.raises(LakeError, match="the lake refused"):
        lake.current_snapshot()


def test_a_moved_home_folder_names_both_places(lake: Lake, tmp_path: Path) -> None:
    moved = replace(lake, data_path=tmp_path / "elsewhere")
    with pytest.raises(LakeError, match=rf"made for data in {lake.data_path}, not in .*elsewhere; .*FRESHET_DATA_PATH"):
        moved.current_snapshot()


class BusyAtFirst(Lake):
    """A lake whose first query meets a commit, as SQLite tells it at once where waiting would be a deadlock."""

    @contextmanager
    def connect(self, *, snapshot: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        with super().connect(snapshot=snapshot) as connection:
            if not ASKED:
                ASKED.append(1)
                raise duckdb.Error('Failed to prepare query "SELECT table_id": database is locked')
            yield connection


def test_a_query_that_meets_a_commit_is_asked_again(lake: Lake) -> None:
    ASKED.clear()
    busy = BusyAtFirst(lake.catalogue, lake.data_path, lake.lock_path)
    assert busy.frame("SELECT count(*) AS n FROM raw.events")["n"].item() == 0
    assert ASKED == [1]
    with pytest.raises(duckdb.Error, match="does not exist"):
        busy.frame("FROM raw.nothing")
