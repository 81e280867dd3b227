"""Files enter the lake once and whole; every row is accounted for."""

import gzip
import signal
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from assets.domain import Domain
from assets.ingest import IngestProgress, IngestReport, ingest_landing
from assets.lake import Lake
from assets.pending_days import pending_days
from assets.pseudonyms import pseudonymise

KEY = "a key for tests"
DOMAIN = Domain(name="test", event_weights={"view": 1.0, "purchase": 4.0})
RECEIVED_AT = datetime(2024, 6, 1, tzinfo=UTC)
HEADER = "user_id,item_id,event_type,event_at,value,query"
# Rows 1 and 2 are sound, row 3 repeats row 1, row 4 has no known type, row 5 an impossible time.
EVENTS = f"""{HEADER}
anna,i1,view,2024-05-01T10:00:00Z,,
bert,i2,purchase,2024-05-02T10:00:00Z,2,kettle
anna,i1,view,2024-05-01T10:00:00Z,,
bert,i2,teleport,2024-05-02T10:00:00Z,,
bert,i2,view,2024-05-32T10:00:00Z,,
"""


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    return tmp_path / "landing"


def put(landing: Path, name: str, content: str | bytes) -> Path:
    path = landing / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def ingest(lake: Lake, landing: Path, **options: object) -> IngestReport:
    given = {"received_at": RECEIVED_AT, "settle_seconds": -1e9, **options}
    return ingest_landing(lake, landing, DOMAIN, KEY, **given)  # type: ignore[arg-type]


def counts(report: IngestReport) -> list[int]:
    return [report.total(f"rows_{name}") for name in ("in", "accepted", "quarantined", "duplicate")]


def test_every_row_of_a_file_is_accounted_for(lake: Lake, landing: Path) -> None:
    put(landing, "events/a.csv", EVENTS)

    report = ingest(lake, landing)

    assert counts(report) == [5, 2, 2, 1]
    assert report.quarantined_by_rule == {"unknown_event_type": 1, "unparsable_time": 1}
    files = lake.frame("SELECT * FROM ops.files").to_dict("records")
    assert [(row["rows_in"], row["rows_accepted"], row["first_day"].day, row["last_day"].day) for row in files] == [
        (5, 2, 1, 2)
    ]
    events = lake.frame("SELECT user_id, item_id, value, query, source_row FROM raw.events ORDER BY source_row")
    assert events["user_id"].tolist() == [pseudonymise("anna", KEY), pseudonymise("bert", KEY)]
    assert events["source_row"].tolist() == [1, 2]
    assert events["value"].fillna(0).tolist() == [0, 2]
    assert events["query"].fillna("").tolist() == ["", "kettle"]


def test_the_same_file_and_a_renamed_copy_add_nothing(lake: Lake, landing: Path) -> None:
    put(landing, "events/a.csv", EVENTS)
    ingest(lake, landing)
    before = [lake.fingerprint(table) for table in ("raw.events", "ops.files", "quarantine.rows", "ops.pending_days")]
    put(landing, "events/copy/b.csv", EVENTS)

    report = ingest(lake, landing)

    assert report.known == ("events/a.csv", "events/copy/b.csv")
    assert counts(report) == [0, 0, 0, 0]
    after = [lake.fingerprint(table) for table in ("raw.events", "ops.files", "quarantine.rows", "ops.pending_days")]
    assert after == before


def test_the_same_rows_in_other_bytes_are_duplicates(lake: Lake, landing: Path) -> None:
    put(landing, "events/a.csv", EVENTS)
    ingest(lake, landing)
    put(landing, "events/a.csv.gz", gzip.compress(EVENTS.encode()))
    put(
        landing,
        "events/b.jsonl",
        '{"event_at": 1714644000, "event_type": "purchase", "item_id": "i2", "user_id": "bert", "value": 2.0, '
        '"query": " kettle", "source_order": 9}\n',
    )

    assert counts(ingest(lake, landing)) == [6, 0, 2, 4]


def test_days_with_new_events_are_pending(lake: Lake, landing: Path) -> None:
    put(landing, "events/a.csv", EVENTS)
    ingest(lake, landing)
    put(landing, "events/late.csv", f"{HEADER}\ncarl,i1,view,2024-05-01T23:59:59Z,,\ncarl,i1,view,2024-04-01,,\n")

    report = ingest(lake, landing)

    assert report.days_touched == [date(2024, 4, 1), date(2024, 5, 1)]
    pending = {str(day): rows for day, rows in pending_days(lake).items()}
    assert pending == {"2024-04-01": 1, "2024-05-01": 2, "2024-05-02": 1}
    days = lake.frame(
        "SELECT event_day::VARCHAR AS day FROM raw.events WHERE source_file = 'events/late.csv' ORDER BY 1"
    )
    assert days["day"].tolist() == ["2024-04-01", "2024-05-01"]


def test_a_given_event_id_is_the_identity(lake: Lake, landing: Path) -> None:
    header = "event_id,user_id,item_id,event_type,event_at"
    put(landing, "events/a.csv", f"{header}\ne1,u,i,view,2024-05-01\ne2,u,i,view,2024-05-01\ne1,u,i,view,2024-05-03\n")

    assert counts(ingest(lake, landing)) == [3, 2, 0, 1]
    assert lake.frame("SELECT event_id FROM raw.events ORDER BY 1")["event_id"].tolist() == ["e1", "e2"]


def test_versions_of_items_and_users_are_kept(lake: Lake, landing: Path) -> None:
    put(
        landing,
        "items/a.csv",
        "item_id,title,price,categories\ni1,Kettle,3,Home > Kitchen\ni2,,,\ni1,Kettle,4,Home > Kitchen\n",
    )
    put(landing, "items/b.jsonl", '{"item_id":"i1","title":"Kettle","price":3.0,"categories":["Home","Kitchen"]}\n')
    put(landing, "users/a.csv", "user_id,region\nanna,FR\nanna,FR\nanna,DE\n")

    report = ingest(lake, landing)

    assert [(file.name, file.rows_accepted, file.rows_duplicate) for file in report.files] == [
        ("items/a.csv", 3, 0),
        ("items/b.jsonl", 0, 1),
        ("users/a.csv", 2, 1),
    ]
    kept = lake.frame("SELECT item_id, price, categories FROM raw.items ORDER BY item_id, price")
    assert kept["item_id"].tolist() == ["i1", "i1", "i2"]
    assert list(kept["categories"][0]) == ["Home", "Kitchen"]


def test_no_user_id_of_the_source_is_anywhere_in_the_lake(lake: Lake, landing: Path) -> None:
    secret = "alice.liddell@example.com"
    rows = [f"{secret},i1,view,2024-05-01,,", f"{secret},i1,view,soon,,", f"{secret},i1,view", f'{secret},"i1,view']
    put(landing, "events/a.csv", "\n".join([HEADER, *rows]))
    whole = f'{{"user_id": "{secret}", "item_id": "i1", "event_type": "view", "event_at": "soon"}}'
    put(landing, "events/b.jsonl", f"{whole}\n{whole[:-1]}\n")
    put(landing, "users/a.csv", f"user_id,region\n{secret},FR\n{secret},{'x' * 200_000}\n")

    report = ingest(lake, landing)

    assert report.total("rows_quarantined") == 6
    for table in ("raw.events", "raw.users", "quarantine.rows", "ops.files"):
        assert secret not in lake.frame(f"SELECT * FROM {table}").to_csv()
    files = [path for path in (*lake.data_path.rglob("*"), *landing.glob(".staging/**/*")) if path.is_file()]
    assert files
    assert not [path for path in files if secret.encode() in path.read_bytes()]


def test_a_cell_of_ten_megabytes_is_one_quarantined_row(lake: Lake, landing: Path) -> None:
    put(landing, "events/a.csv", f"{HEADER}\nu,i,view,2024-05-01,,{'x' * 10_000_000}\nu,i,view,2024-05-01,,short\n")

    report = ingest(lake, landing)

    assert report.quarantined_by_rule == {"cell_too_long": 1}
    assert report.total("rows_accepted") == 1
    kept = lake.frame("SELECT length(value) AS value, length(payload) AS payload FROM quarantine.rows")
    assert kept["value"][0] == 200
    assert kept["payload"][0] < 3_000


def test_a_file_that_cannot_be_used_is_set_aside_and_the_others_go_on(lake: Lake, landing: Path) -> None:
    put(landing, "events/a_latin.csv", f"{HEADER}\nu,i,view,2024-05-01,,café\n".encode("cp1252"))
    put(landing, "events/b_columns.csv", "user_id,item_id,EventType,event_at\nu,i,view,2024-05-01\n")
    put(landing, "events/c_damaged.parquet", b"no parquet")
    # Its first chunk is sound: nothing of it may stay.
    put(
        landing,
        "events/d_cut.csv.gz",
        gzip.compress(("\n".join([HEADER, *["u,i,view,2024-05-01,,"] * 60_000])).encode())[:-9],
    )
    put(landing, "events/z.csv", EVENTS)

    report = ingest(lake, landing)

    reasons = {file.name.split("/")[1][0]: file.reason for file in report.rejected}
    assert list(reasons) == ["a", "b", "c", "d"]
    assert "byte 72 (0xe9) is not UTF-8" in reasons["a"]
    assert (
        "column 'event_type' is missing; the file has user_id, item_id, EventType, event_at; did you mean 'EventType'?"
        in reasons["b"]
    )
    assert counts(report) == [5, 2, 2, 1]
    assert len(lake.frame("SELECT * FROM raw.events")) == 2
    assert sorted(path.name for path in (landing / "rejected/events").glob("*.csv")) == ["a_latin.csv", "b_columns.csv"]
    assert ingest(lake, landing).rejected == ()


def test_an_empty_landing_zone_is_no_error(lake: Lake, landing: Path) -> None:
    assert ingest(lake, landing) == IngestReport()


def test_a_file_with_a_header_only_is_recorded(lake: Lake, landing: Path) -> None:
    put(landing, "events/a.csv", f"{HEADER}\n")

    assert [file.rows_in for file in ingest(lake, landing).files] == [0]


def test_a_file_that_is_still_written_waits(lake: Lake, landing: Path) -> None:
    put(landing, "events/a.csv", EVENTS)

    report = ingest(lake, landing, settle_seconds=60, received_at=datetime.now(UTC))

    assert report.unsettled == ("events/a.csv",)
    assert report.files == ()


def test_a_file_that_changes_while_it_is_read_waits(lake: Lake, landing: Path) -> None:
    path = put(landing, "events/a.csv", EVENTS)

    def grow(progress: IngestProgress) -> None:
        if progress.phase == "reading":
            path.write_text(EVENTS + "carl,i1,view,2024-05-03,,\n")

    assert ingest(lake, landing, on_progress=grow).unsettled == ("events/a.csv",)
    assert ingest(lake, landing).total("rows_accepted") == 3


def test_columns_that_are_not_read_are_named(lake: Lake, landing: Path) -> None:
    put(landing, "users/a.csv", "user_id,region,shoe_size\nu,FR,43\n")

    assert ingest(lake, landing).files[0].ignored_columns == ("shoe_size",)


def test_the_same_bytes_may_be_landed_as_two_kinds(lake: Lake, landing: Path) -> None:
    wide = "user_id,item_id,event_type,event_at,title\nu,i,view,2024-05-01,Kettle\n"
    put(landing, "events/wide.csv", wide)
    put(landing, "items/wide.csv", wide)

    assert counts(ingest(lake, landing)) == [2, 2, 0, 0]


class Crash(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("phase", ["reading", "staged", "committed"])
def test_a_crash_adds_nothing_twice_and_loses_nothing(lake: Lake, landing: Path, phase: str) -> None:
    put(landing, "events/a.csv", EVENTS)
    put(landing, "events/b.csv", f"{HEADER}\ncarl,i1,view,2024-05-03,,\n")

    def crash(progress: IngestProgress) -> None:
        if (progress.file_name, progress.phase) == ("events/a.csv", phase):
            raise Crash

    with pytest.raises(Crash):
        ingest(lake, landing, on_progress=crash)
    ingest(lake, landing)

    assert lake.frame("SELECT count(*) AS n FROM raw.events")["n"][0] == 3
    assert lake.frame("SELECT count(*) AS n FROM quarantine.rows")["n"][0] == 2
    assert lake.frame("SELECT sum(rows_added)::BIGINT AS n FROM ops.pending_days")["n"][0] == 3
    assert sorted(path.name for path in landing.glob(".staging/*")) == ["events.lock", "items.lock", "users.lock"]


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from assets.domain import Domain
from assets.ingest import ingest_landing
from assets.lake import Lake

root = Path(sys.argv[1])
lake = Lake(f"sqlite:{root}/lake/catalogue.sqlite", root / "lake/data", root / "lake/write.lock")
domain = Domain(name="test", event_weights={"view": 1.0, "purchase": 4.0})

def kill(progress):
    if progress.phase == "staged":
        os.kill(os.getpid(), signal.SIGKILL)

ingest_landing(lake, root / "landing", domain, "a key for tests", received_at=datetime(2024, 6, 1, tzinfo=UTC),
               settle_seconds=-1e9, on_progress=kill)
"""


def test_a_killed_process_leaves_locks_free_and_nothing_half_written(lake: Lake, landing: Path, tmp_path: Path) -> None:
    put(landing, "events/a.csv", EVENTS)

    root = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=root, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert len(list(landing.glob(".staging/events/*.parquet"))) == 2
    assert lake.frame("SELECT * FROM ops.files").empty
    assert counts(ingest(lake, landing)) == [5, 2, 2, 1]
    assert list(landing.glob(".staging/events")) == []
    assert [path.name for path in (landing / "events").iterdir()] == ["a.csv"]
