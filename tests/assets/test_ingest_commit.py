"""Conservation holds for any mixture of sound, broken and repeated rows."""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.domain import Domain
from assets.ingest import ingest_landing
from assets.ingest_commit import StagedFile, commit_file
from assets.lake import Lake
from assets.landing_zone import LandingFile
from assets.row_staging import QUARANTINED_SCHEMA, STAGED_SCHEMAS
from models.errors import DataError

CELL = st.sampled_from(
    ["", "a", "b", "nan", "2024-05-01", "2024-05-02T10:00:00Z", "view", "purchase", "-1", '"', "a,b"]
)
LINE = st.lists(CELL, min_size=3, max_size=6).map(",".join)


@settings(max_examples=10, deadline=None)
@given(files=st.lists(st.lists(LINE, max_size=12), min_size=1, max_size=2))
def test_rows_in_are_accepted_quarantined_or_duplicate(files: list[list[str]]) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        lake = Lake(f"sqlite:{folder / 'c.sqlite'}", folder / "data", folder / "lock")
        lake.create_tables()
        for index, lines in enumerate(files):
            path = folder / "landing" / "events" / f"{index}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            sound = "u,i,view,2024-05-01,1"
            path.write_text("\n".join(["user_id,item_id,event_type,event_at,value", sound, *lines, sound, ""]))
        domain = Domain(name="test", event_weights={"view": 1.0, "purchase": 1.0})
        moment = datetime(2024, 6, 1, tzinfo=UTC)

        report = ingest_landing(lake, folder / "landing", domain, "k", received_at=moment, settle_seconds=-1e9)

        assert report.rejected == ()
        assert report.total("rows_duplicate") >= 1
        for file in report.files:
            assert file.rows_in == file.rows_accepted + file.rows_quarantined + file.rows_duplicate
        in_lake = lake.frame("SELECT (SELECT count(*) FROM raw.events) a, (SELECT count(*) FROM quarantine.rows) q")
        assert in_lake.to_numpy().tolist() == [[report.total("rows_accepted"), report.total("rows_quarantined")]]


def test_a_file_whose_rows_do_not_add_up_is_not_committed(lake: Lake, tmp_path: Path) -> None:
    accepted, quarantined = tmp_path / "accepted.parquet", tmp_path / "quarantined.parquet"
    row = dict.fromkeys(STAGED_SCHEMAS["users"].names) | {"user_id": "u", "content_hash": "h", "source_row": 1}
    pq.write_table(pa.Table.from_pylist([row], schema=STAGED_SCHEMAS["users"]), accepted)
    pq.write_table(QUARANTINED_SCHEMA.empty_table(), quarantined)
    file = LandingFile("users", tmp_path / "u.csv", "users/u.csv", "f" * 64, 1, 1)

    with pytest.raises(DataError, match="2 rows were read but 1 are accounted for"):
        lake.write(commit_file(StagedFile(file, accepted, quarantined, rows_in=2), datetime(2024, 6, 1)), message="x")

    assert lake.frame("SELECT * FROM raw.users").empty
    assert lake.frame("SELECT * FROM ops.files").empty
