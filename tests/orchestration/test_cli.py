"""The command line as a user meets it: messages, exit codes, JSON."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from assets.pseudonyms import pseudonymise
from models.schema import OPS_BUILDS, TOP_K
from orchestration.cli import main
from orchestration.home import open_lake
from orchestration.settings import DEMO_PSEUDONYM_KEY, load_settings

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def freshet(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command against the home folder `tmp_path / "home"`; returns exit code, output and messages."""
    for name in ("DOMAIN", "FIRST_DAY", "LAST_DAY", "CATALOGUE"):
        monkeypatch.delenv(f"FRESHET_{name}", raising=False)
    monkeypatch.setenv("FRESHET_HOME", str(tmp_path / "home"))

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def served(tmp_path: Path) -> str:
    """A home folder in which the source's user `anna` has a list of two items; returns her pseudonym."""
    lake = open_lake(load_settings(home=tmp_path / "home"))
    lake.create_tables()
    user = pseudonymise("anna", DEMO_PSEUDONYM_KEY)
    items = [
        {"item_id": "i2", "score": 0.9, "source": "content", "reason": "like a red scarf"},
        {"item_id": "i1", "score": 0.4, "source": "popularity", "reason": "popular"},
    ]
    moment = pd.Timestamp("2026-01-31")
    row = {
        "surface": "home",
        "user_id": user,
        "items": items,
        "model_version": "m1",
        "index_version": "x1",
        "input_snapshot": 3,
        "generated_at": moment,
        "expires_at": moment + pd.Timedelta(hours=48),
        "lane": "batch",
        "last_event_at": moment,
    }
    lake.replace_table(TOP_K, pd.DataFrame([row]))
    lake.write(
        lambda connection: connection.execute(
            "CREATE SCHEMA IF NOT EXISTS marts; CREATE TABLE marts.items AS "
            "SELECT * FROM (VALUES ('i1', 'Blue hat'), ('i2', 'Red scarf')) AS t(item_id, title)"
        ),
        message="items",
    )
    return user


def test_help_is_fast_and_names_the_exit_codes() -> None:
    started = time.process_time()
    finished = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "orchestration.cli"], capture_output=True, text=True, check=True
    )
    assert time.process_time() - started < 5
    heavy = {"dagster", "duckdb", "pandas", "torch", "pydantic"}
    assert {line.rsplit("|", 1)[-1].strip() for line in finished.stderr.splitlines()} & heavy == set()


def test_help_lists_every_command(freshet: Command) -> None:
    code, said, _ = freshet("--help")
    assert code == 0
    for command in ("demo", "load", "run", "top-k", "evaluate", "status", "quarantine", "up", "doctor", "prepare"):
        assert f" {command} " in said
    assert "Exit codes" in said


@pytest.mark.parametrize("command", ["status", "evaluate", "top-k anna", "quarantine list"])
def test_an_empty_home_is_one_message_and_nothing_is_made(freshet: Command, command: str, tmp_path: Path) -> None:
    code, _, said = freshet(*command.split())
    assert code == 1
    assert said.startswith("error: nothing has been built")
    assert "Traceback" not in said
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("command", ["fly", "top-k", "run --from 2026-01-02", "load files x --map user_id"])
def test_wrong_usage_is_code_2(freshet: Command, command: str) -> None:
    assert freshet(*command.split())[0] == 2


@pytest.mark.parametrize("name", ["source id", "pseudonym"])
def test_a_list_is_found_by_either_id(freshet: Command, served: str, name: str) -> None:
    code, said, _ = freshet("top-k", "anna" if name == "source id" else served, "--json")
    found = json.loads(said)
    assert code == 0
    assert found["user_id"] == served
    assert [(item["rank"], item["title"]) for item in found["items"]] == [(1, "Red scarf"), (2, "Blue hat")]
    assert (found["model_version"], found["generated_at"]) == ("m1", "2026-01-31 00:00:00")


def test_a_list_for_people_shows_titles_reasons_and_provenance(freshet: Command, served: str) -> None:
    _, said, _ = freshet("top-k", "anna")
    for part in ("Red scarf", "like a red scarf", "model m1", "expires 2026-02-02", "expired"):
        assert part in said


def test_an_empty_list_is_a_list(freshet: Command, served: str, tmp_path: Path) -> None:
    lake = open_lake(load_settings(home=tmp_path / "home"))
    lake.write(lambda connection: connection.execute("UPDATE serving.top_k SET items = []"), message="all seen")
    code, said, _ = freshet("top-k", "anna", "--json")
    assert code == 0
    assert json.loads(said)["items"] == []
    assert "nothing to recommend" in freshet("top-k", "anna")[1]


def test_an_unknown_user_is_told_what_to_try(freshet: Command, served: str) -> None:
    code, _, said = freshet("top-k", "otto")
    assert code == 1
    assert "'otto'" in said
    assert "--segment" in said


def test_a_segment_stands_in_for_an_unknown_user(freshet: Command, served: str, tmp_path: Path) -> None:
    lake = open_lake(load_settings(home=tmp_path / "home"))
    lake.write(
        lambda connection: connection.execute(
            "INSERT INTO features.item_popularity VALUES ('25-34', 'i1', 5), ('25-34', 'i2', 1), ('', 'i2', 9);"
            "ALTER TABLE marts.items ADD COLUMN available_from TIMESTAMP;"
            "ALTER TABLE marts.items ADD COLUMN available_until TIMESTAMP;"
            "CREATE TABLE marts.interactions AS SELECT DATE '2026-01-30' AS event_day"
        ),
        message="popularity",
    )
    _, said, _ = freshet("top-k", "otto", "--segment", "25-34", "--json")
    assert [item["item_id"] for item in json.loads(said)["items"]] == ["i1", "i2"]
    code, _, message = freshet("top-k", "--segment", "99")
    assert code == 1
    assert "'25-34'" in message


def test_a_snapshot_before_the_list_has_none(freshet: Command, served: str) -> None:
    code, _, said = freshet("top-k", "anna", "--snapshot", "1")
    assert code == 1
    assert "Traceback" not in said


def test_status_for_programs(freshet: Command, served: str, tmp_path: Path) -> None:
    lake = open_lake(load_settings(home=tmp_path / "home"))
    build = {
        "asset": "champion_recommender",
        "fingerprint": "f",
        "as_of": pd.Timestamp("2026-01-31"),
        "version": "m1",
        "snapshot": 3,
        "built_at": pd.Timestamp("2026-01-31"),
        "seconds": 1.0,
    }
    lake.replace_table(OPS_BUILDS, pd.DataFrame([build]))
    lake.write(
        lambda connection: connection.execute("INSERT INTO ops.pending_days VALUES ('2026-02-01', 12)"), message="p"
    )
    landing = tmp_path / "home" / "landing" / "events"
    landing.mkdir(parents=True)
    (landing / "late.csv").write_text("user_id,item_id,event_type,event_at\n")
    code, said, _ = freshet("status", "--json")
    found: dict[str, Any] = json.loads(said)
    assert code == 0
    assert (found["lists"]["users"], found["lists"]["expired"]) == (1, 1)
    assert found["models"] == {"champion": "m1"}
    assert found["pending_days"] == {"2026-02-01": 12}
    assert found["unread_files"] == ["events/late.csv"]
    assert found["tables"]["serving.top_k"] == 1
    assert freshet("status")[0] == 0


def test_load_lands_files_and_remembers_their_days(freshet: Command, tmp_path: Path) -> None:
    source = tmp_path / "orders.csv"
    source.write_text("CustomerID,sku,when\n7,a,2025-03-02T10:00:00\n8,b,2025-03-05\n9,c,never\n")
    mapping = ["--map", "user_id=CustomerID", "--map", "item_id=sku", "--map", "event_at=when"]
    code, said, _ = freshet("load", "files", str(source), *mapping, "--event-type", "purchase", "--json")
    landed = json.loads(said)
    assert code == 0
    assert landed["rows"] == {"events": 3}
    assert Path(landed["files"][0]).parent == tmp_path / "home" / "landing" / "events"
    assert load_settings().first_day.isoformat() == "2025-03-02"
    assert load_settings().last_day is None


def test_a_wrong_mapping_names_the_columns_that_exist(freshet: Command, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("CustomerID,item_id,event_type,event_at\n7,a,view,2025-03-02\n")
    code, _, said = freshet("load", "files", str(tmp_path / "orders.csv"), "--map", "user_id=CustomerId")
    assert code == 1
    assert "CustomerID" in said


def test_a_home_keeps_its_domain(freshet: Command, tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("user_id,item_id,event_type,event_at\n7,a,view,2025-03-02\n")
    file = str(tmp_path / "events.csv")
    assert freshet("load", "files", file, "--domain", "feed")[0] == 0
    assert load_settings().domain == "feed"
    code, _, said = freshet("load", "files", file, "--domain", "courses")
    assert code == 1
    assert "'feed'" in said
    assert load_settings().domain == "feed"
