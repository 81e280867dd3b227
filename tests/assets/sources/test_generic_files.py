"""Any file through a mapping of columns."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from assets.landing_zone import LandingZone
from assets.sources.generic_files import load
from models.errors import ConfigurationError, MissingColumnError, UnreadableFileError

MAPPING = {"user_id": "Customer", "item_id": "SKU", "event_at": "When"}


@pytest.fixture
def zone(tmp_path: Path) -> LandingZone:
    return LandingZone(tmp_path / "landing")


def source(
    tmp_path: Path, content: str = "Customer,SKU,When,Shop\nanna,7,2024-05-01,Lyon\n", encoding: str = "utf-8"
) -> Path:
    path = tmp_path / "orders.csv"
    path.write_bytes(content.encode(encoding))
    return path


def landed(zone: LandingZone, kind: str = "events") -> list[dict[str, Any]]:
    rows = [row for path in zone.candidates(kind) for row in pq.read_table(path).to_pylist()]  # type: ignore[arg-type]
    return [{name: cell for name, cell in row.items() if cell is not None} for row in rows]


def test_columns_are_mapped_and_a_constant_type_added(tmp_path: Path, zone: LandingZone) -> None:
    result = load(source(tmp_path), zone, columns=MAPPING, event_type="purchase", attributes=["Shop"])

    assert result.rows == {"events": 1}
    assert landed(zone) == [
        {
            "user_id": "anna",
            "item_id": "7",
            "event_type": "purchase",
            "event_at": "2024-05-01",
            "attributes": '{"Shop":"Lyon"}',
        }
    ]


def test_every_row_is_landed_even_a_broken_one(tmp_path: Path, zone: LandingZone) -> None:
    text = "Customer,SKU,When\nanna,7,2024-05-01\nbert\n,,\n"

    assert load(source(tmp_path, text), zone, columns=MAPPING, event_type="purchase").rows == {"events": 3}
    assert landed(zone)[1]["row_error"] == "has 1 cells where the header has 3"


def test_a_wrong_source_column_is_refused_with_the_nearest(tmp_path: Path, zone: LandingZone) -> None:
    with pytest.raises(MissingColumnError, match=r"'Custumer' is missing; .*Customer, SKU.*did you mean 'Customer'"):
        load(source(tmp_path), zone, columns={**MAPPING, "user_id": "Custumer"}, event_type="purchase")

    assert zone.candidates("events") == []


def test_a_wrong_landing_column_is_refused_with_the_nearest(tmp_path: Path, zone: LandingZone) -> None:
    with pytest.raises(ConfigurationError, match=r"no column 'userid'.*did you mean 'user_id'"):
        load(source(tmp_path), zone, columns={"userid": "Customer"})


def test_a_missing_type_is_noticed(tmp_path: Path, zone: LandingZone) -> None:
    with pytest.raises(MissingColumnError, match="'event_type' is missing"):
        load(source(tmp_path), zone, columns=MAPPING)


def test_another_encoding_is_an_option(tmp_path: Path, zone: LandingZone) -> None:
    path = source(tmp_path, "user_id,region\nanna,Île-de-France\n", encoding="cp1252")

    with pytest.raises(UnreadableFileError, match="--encoding cp1252"):
        load(path, zone, kind="users")
    load(path, zone, kind="users", encoding="cp1252")

    assert landed(zone, "users") == [{"user_id": "anna", "region": "Île-de-France"}]


def test_all_files_of_a_folder_are_landed(tmp_path: Path, zone: LandingZone) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text(f"user_id\n{name}\n")

    assert load(folder, zone, kind="users").rows == {"users": 2}
    assert [row["user_id"] for row in landed(zone, "users")] == ["a.csv", "b.csv"]
