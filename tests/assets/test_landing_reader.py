"""Every format and compression reads the same; damaged files are named."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from assets.landing_reader import read_tables
from models.errors import MissingColumnError, UnreadableFileError

CSV = b"user_id,region\nu1,FR\nu2,\n"
JSON = b'{"user_id": "u1", "region": "FR"}\n{"user_id": "u2"}\n'


def rows_of(path: Path) -> list[tuple[str | None, str | None]]:
    return [(row["user_id"], row["region"] or None) for table in read_tables(path) for row in table.to_pylist()]


def parquet_bytes(path: Path) -> bytes:
    pq.write_table(pa.table({"user_id": ["u1", "u2"], "region": ["FR", None]}), path)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("name", ["users.csv", "users.jsonl", "users.parquet"])
def test_formats_and_compressions_agree(tmp_path: Path, name: str, suffix: str) -> None:
    content = {"users.csv": CSV, "users.jsonl": JSON}.get(name) or parquet_bytes(tmp_path / "made.parquet")
    compress = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[suffix]
    path = tmp_path / (name + suffix)
    path.write_bytes(compress(content))

    assert rows_of(path) == [("u1", "FR"), ("u2", None)]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_cut_off_compressed_file_is_refused(tmp_path: Path, suffix: str) -> None:
    compress = {".gz": gzip.compress, ".zst": zstandard.compress}[suffix]
    path = tmp_path / f"users.csv{suffix}"
    path.write_bytes(compress(CSV * 1000)[:-6])

    with pytest.raises(UnreadableFileError, match=r"users\.csv"):
        rows_of(path)


@pytest.mark.parametrize("name", ["users.parquet", "users.csv.gz", "users.xlsx", "users"])
def test_other_content_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no such format")

    with pytest.raises(UnreadableFileError, match=name):
        rows_of(tmp_path / name)


def test_a_missing_column_is_named_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_bytes(b"UserId,region\nu1,FR\n")

    with pytest.raises(MissingColumnError, match=r"'user_id' is missing; .* UserId, region; did you mean 'UserId'"):
        list(read_tables(tmp_path / "users.csv", required=["user_id"]))


def test_a_missing_column_of_a_file_without_rows_is_found(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_bytes(b"")

    with pytest.raises(MissingColumnError, match="no columns"):
        list(read_tables(tmp_path / "users.csv", required=["user_id"]))


def test_another_delimiter_is_suspected(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_bytes(b"user_id;region\nu1;FR\n")

    with pytest.raises(MissingColumnError, match="another character than the comma"):
        list(read_tables(tmp_path / "users.csv", required=["user_id"]))


def test_parquet_types_become_text(tmp_path: Path) -> None:
    moment = datetime(2024, 5, 1, 10, tzinfo=UTC)
    table = pa.table(
        {
            "number": [1.5],
            "whole": [7],
            "moment": pa.array([moment], pa.timestamp("ns", "Europe/Paris")),
            "path": [["a", "b"]],
            "word": pa.array(["x"]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "typed.parquet")

    (_, read) = [None, *read_tables(tmp_path / "typed.parquet")]

    assert read.to_pylist() == [
        {"number": "1.5", "whole": "7", "moment": "2024-05-01 10:00:00.000000", "path": '["a","b"]', "word": "x"}
    ]
