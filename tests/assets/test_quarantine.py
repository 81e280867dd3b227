"""Quarantined rows can be listed, counted and tried again."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from assets.domain import Domain
from assets.ingest import ingest_landing
from assets.lake import Lake
from assets.pending_days import pending_days
from assets.pseudonyms import pseudonymise
from assets.quarantine import count_by_rule, list_rows, replay

DOMAIN = Domain(name="test", event_weights={"view": 1.0}, item_id_pattern=r"\d+")
NOW = datetime(2024, 6, 1, tzinfo=UTC)
EVENTS = f"""event_id,user_id,item_id,event_type,event_at,query
e1,anna,1,view,2024-05-01,
e2,anna,1,like,2024-05-02,
e3,bert,M7,view,2024-05-03,
e4,bert,2,like,2024-07-01,
e5,bert,2,view,soon,
,anna,3,view,2024-05-04,{"x" * 200_000}
"""


@pytest.fixture
def landing(lake: Lake, tmp_path: Path) -> Path:
    folder = tmp_path / "landing"
    land(lake, folder, "a.csv", EVENTS)
    return folder


def land(lake: Lake, folder: Path, name: str, content: str) -> None:
    (folder / "events").mkdir(parents=True, exist_ok=True)
    (folder / "events" / name).write_text(content)
    ingest_landing(lake, folder, DOMAIN, "k", received_at=NOW, settle_seconds=-1e9)


def test_rows_are_listed_with_rule_file_row_and_pseudonym(lake: Lake, landing: Path) -> None:
    rows = list_rows(lake, rule="unknown_event_type")

    found = rows[["source_file", "source_row", "column_name", "value"]].to_numpy().tolist()
    assert found == [["events/a.csv", 2, "event_type", "like"]]
    assert pseudonymise("anna", "k") in rows["payload"][0]


def test_rows_are_counted_by_rule(lake: Lake, landing: Path) -> None:
    counts = count_by_rule(lake)

    assert dict(zip(counts["rule"], counts["open"], strict=True)) == {
        "unknown_event_type": 1,
        "item_id_mismatch": 1,
        "future_time": 1,
        "unparsable_time": 1,
        "cell_too_long": 1,
    }


def test_replay_without_a_change_changes_nothing(lake: Lake, landing: Path) -> None:
    before = lake.current_snapshot()

    report = replay(lake, DOMAIN, as_of=NOW)

    assert (report.open_before, report.accepted, report.still_open) == (5, 0, 5)
    assert lake.current_snapshot() == before


def test_replay_accepts_what_a_new_event_type_allows(lake: Lake, landing: Path) -> None:
    taught = replace(DOMAIN, event_weights={"view": 1.0, "like": 2.0})

    report = replay(lake, taught, as_of=NOW)

    assert (report.accepted, report.still_open) == (1, 4)
    assert report.days_touched == (date(2024, 5, 2),)
    row = lake.frame("SELECT user_id, source_file, source_row FROM raw.events WHERE event_id = 'e2'")
    assert row.to_numpy().tolist() == [[pseudonymise("anna", "k"), "events/a.csv", 2]]
    pending = {str(day): rows for day, rows in pending_days(lake).items()}
    assert pending == {"2024-05-01": 1, "2024-05-02": 1}
    assert replay(lake, taught, as_of=NOW).accepted == 0
    assert len(list_rows(lake, status="replayed")) == 1


def test_replay_can_be_kept_to_one_rule(lake: Lake, landing: Path) -> None:
    lenient = Domain(name="test", event_weights={"view": 1.0, "like": 1.0})

    report = replay(lake, lenient, as_of=datetime(2024, 8, 1, tzinfo=UTC), rule="item_id_mismatch")

    assert (report.open_before, report.accepted) == (1, 1)
    assert len(list_rows(lake)) == 4


def test_a_replayed_row_is_the_row_that_a_corrected_domain_would_have_accepted(lake: Lake, tmp_path: Path) -> None:
    row = "user_id,item_id,event_type,event_at\nanna,1,like,2024-05-02\n"
    land(lake, tmp_path / "landing", "a.csv", row)
    taught = replace(DOMAIN, event_weights={"view": 1.0, "like": 2.0})
    replay(lake, taught, as_of=NOW)
    (tmp_path / "landing/events/b.csv").write_text(row.replace("2024-05-02", "2024-05-02T00:00:00Z"))

    report = ingest_landing(lake, tmp_path / "landing", taught, "k", received_at=NOW, settle_seconds=-1e9)

    assert report.total("rows_duplicate") == 1


def test_a_row_that_a_corrected_file_brought_is_settled(lake: Lake, landing: Path) -> None:
    land(lake, landing, "b.csv", "event_id,user_id,item_id,event_type,event_at\ne5,bert,2,view,2024-05-05\n")

    report = replay(lake, DOMAIN, as_of=NOW)

    assert (report.accepted, report.duplicate, report.still_open) == (0, 1, 4)
    assert "unparsable_time" not in list_rows(lake)["rule"].tolist()


def test_a_row_whose_cells_were_cut_stays(lake: Lake, landing: Path) -> None:
    lenient = Domain(name="test", event_weights={"view": 1.0, "like": 1.0})

    report = replay(lake, lenient, as_of=datetime(2024, 8, 1, tzinfo=UTC))

    assert report.accepted == 3
    assert sorted(list_rows(lake)["rule"]) == ["cell_too_long", "unparsable_time"]
