"""The dbt project on a small lake: contents, contracts, windows, and the same sessions as in Python."""

import subprocess
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from assets.dbt_project import (
    WarehouseProject,
    build_arguments,
    child_environment,
    dbt_command,
    generate_docs,
    prepare_project,
)
from assets.lake import Lake
from models.errors import ConfigurationError
from models.schema import MARTS, Table
from models.sessions import session_starts

_SOURCE = Path(__file__).parents[2] / "dbt"
_FACTS = (
    "intermediate.int_events_deduplicated",
    "intermediate.int_events_filtered",
    "intermediate.int_events_sessionized",
    "marts.interactions",
    "marts.hides",
    "marts.sessions",
    "marts.item_daily_stats",
)
_DAY_1, _DAY_2, _DAY_3, _END = (date(2024, 3, day) for day in (1, 2, 3, 4))

# event, user, item, type, time, value
_EVENTS = [
    ("e01", "ann", "tea", "view", "2024-03-01 10:00:00", None),
    ("e02", "ann", "tea", "view", "2024-03-01 10:00:05", None),  # repeats e01
    ("e03", "ann", "mug", "purchase", "2024-03-01 10:31:00", 3.0),  # another session
    ("e04", "ann", "mug", "cancel", "2024-03-01 10:40:00", 1.0),  # leaves 2 of e03
    ("e05", "bob", "tea", "purchase", "2024-03-01 12:00:00", 1.0),
    ("e06", "bob", "tea", "view", "2024-03-01 23:59:50", None),
    ("e07", "bob", "mug", "view", "2024-03-02 00:00:10", None),  # midnight: another session
    ("e08", "bob", "tea", "cancel", "2024-03-02 09:00:00", 1.0),  # of yesterday: e05 stays
    ("e09", "bob", "mug", "impression", "2024-03-02 00:10:00", None),  # weight 0
    *((f"x{n:02}", "bot", "tea", "view", f"2024-03-02 05:{n:02}:00", None) for n in range(6)),
    ("e10", "bot", "tea", "view", "2024-03-03 08:00:00", None),  # no bot on this day
    ("e11", "cyd", "hat", "view", "2024-03-03 09:00:00", None),
    ("h1", "cyd", "mug", "hide", "2024-03-03 09:00:00", None),
    ("h2", "cyd", "mug", "hide", "2024-03-03 09:00:01", None),  # repeats h1
    ("h3", "bot", "mug", "hide", "2024-03-02 06:00:00", None),  # of a bot's day
]


def _insert(lake: Lake, events: list[tuple[str, str, str, str, str, float | None]]) -> None:
    def insert(connection: duckdb.DuckDBPyConnection) -> None:
        for order, (event, user, item, kind, at, value) in enumerate(events):
            connection.execute(
                "INSERT INTO raw.events (event_id, user_id, item_id, event_type, event_at, event_day, value, "
                "source_order, ingested_at, source_file, source_row) "
                "VALUES (?, ?, ?, ?, ?, ?::TIMESTAMP::DATE, ?, ?, TIMESTAMP '2024-04-01', 'events.csv', ?)",
                [event, user, item, kind, at, at, value, order, order],
            )

    lake.write(insert, message="events")


def _fill(lake: Lake) -> None:
    lake.create_tables()
    _insert(lake, _EVENTS)

    def insert(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("INSERT INTO raw.domain_rules VALUES ('shop', 30, 10, 5, 'region')")
        connection.execute(
            "INSERT INTO raw.event_types VALUES ('view', 1), ('purchase', 5), ('impression', 0), ('hide', -1)"
        )
        connection.execute(
            "INSERT INTO raw.items (item_id, title, categories, content_hash, ingested_at, source_file, source_row) "
            "VALUES ('tea', 'Tea &amp; Honey', ['Food', 'Drinks'], 'h1', TIMESTAMP '2024-04-01', 'items.csv', 1), "
            "('mug', 'Mug', ['Home'], 'h2', TIMESTAMP '2024-04-01', 'items.csv', 2), "
            "('pan', 'Pan', NULL, 'h3', TIMESTAMP '2024-04-01', 'items.csv', 3)"
        )
        connection.execute(
            "INSERT INTO raw.users (user_id, region, content_hash, ingested_at, source_file, source_row) "
            "VALUES ('ann', 'FR', 'h1', TIMESTAMP '2024-04-01', 'users.csv', 1)"
        )

    lake.write(insert, message="domain, items and users")


def _dbt(project: WarehouseProject, lake: Lake, arguments: list[str]) -> str:
    done = subprocess.run(
        dbt_command(arguments),
        env=child_environment(project, lake, project.target),
        cwd=project.home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def _run_window(project: WarehouseProject, lake: Lake, first: date, end: date) -> str:
    window = build_arguments((first, end))[-4:]
    return _dbt(project, lake, ["run", *window, "--select", "config.materialized:incremental"])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> WarehouseProject:
    return WarehouseProject(_SOURCE, tmp_path_factory.mktemp("dbt"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, project: WarehouseProject) -> Lake:
    """A lake whose warehouse was built whole, with all data tests and all unit tests of the project."""
    folder = tmp_path_factory.mktemp("lake")
    lake = Lake(f"sqlite:{folder / 'catalogue.sqlite'}", folder / "data", folder / "write.lock")
    _fill(lake)
    prepare_project(project, lake)
    output = _dbt(project, lake, ["build"])
    assert "ERROR=0" in output
    assert "unit_test" in output
    return lake


def test_interactions_are_clean_and_weighted(built: Lake) -> None:
    rows = built.frame("SELECT event_id, weight, value FROM marts.interactions ORDER BY event_id")

    assert rows["event_id"].tolist() == ["e01", "e03", "e05", "e06", "e07", "e10", "e11"]
    assert rows["weight"].tolist() == [1, 5, 5, 1, 1, 1, 1]
    assert rows.set_index("event_id").loc["e03", "value"] == 2


def test_hides_are_kept_as_they_were_sent_and_count_nowhere(built: Lake) -> None:
    rows = built.frame("SELECT event_id, weight FROM marts.hides ORDER BY event_id")

    assert rows.to_numpy().tolist() == [["h1", -1], ["h2", -1], ["h3", -1]]
    assert built.frame("SELECT count_interactions FROM marts.users WHERE user_id = 'cyd'").iloc[0, 0] == 1


def test_sessions_end_after_a_gap_and_at_midnight(built: Lake) -> None:
    rows = built.frame(
        "SELECT user_id, started_at, count_interactions FROM marts.sessions ORDER BY user_id, started_at"
    )

    assert list(zip(rows["user_id"], rows["started_at"].dt.strftime("%d %H:%M:%S"), strict=True)) == [
        ("ann", "01 10:00:00"),
        ("ann", "01 10:31:00"),
        ("bob", "01 12:00:00"),
        ("bob", "01 23:59:50"),
        ("bob", "02 00:00:10"),
        ("bot", "03 08:00:00"),
        ("cyd", "03 09:00:00"),
    ]


def test_dimensions_hold_every_item_and_user(built: Lake) -> None:
    items = built.frame("SELECT item_id, title, category, count_interactions FROM marts.items ORDER BY item_id")
    users = built.frame("SELECT user_id, segment, count_interactions FROM marts.users ORDER BY user_id")

    assert items.fillna("").to_numpy().tolist() == [
        ["mug", "Mug", "Home", 2],
        ["pan", "Pan", "", 0],
        ["tea", "Tea & Honey", "Drinks", 4],
    ]
    assert users.fillna("").to_numpy().tolist() == [["ann", "FR", 2], ["bob", "", 3], ["bot", "", 1], ["cyd", "", 1]]


def test_sql_and_python_agree_on_sessions(built: Lake) -> None:
    rows = built.frame(
        "SELECT user_id, event_at, is_session_start FROM intermediate.int_events_sessionized "
        "ORDER BY user_id, event_at, source_order, event_id"
    )

    codes, _ = rows["user_id"].factorize()
    starts = session_starts(codes, rows["event_at"].to_numpy(), 30 * 60)

    assert starts.tolist() == rows["is_session_start"].tolist()
    assert 1 < starts.sum() < len(starts)


@pytest.mark.parametrize("table", MARTS, ids=lambda table: table.name)
def test_contracts_equal_the_schema(built: Lake, table: Table) -> None:
    columns = built.frame(
        "SELECT column_name, data_type, is_nullable FROM information_schema.columns WHERE table_catalog = 'lake' "
        f"AND table_schema = '{table.schema}' AND table_name = '{table.name}' ORDER BY ordinal_position"
    )

    assert [tuple(row) for row in columns.to_numpy()] == [
        (column.name, column.type, "NO" if column.is_required else "YES") for column in table.columns
    ]


def test_schemas_are_named_exactly(built: Lake) -> None:
    names = built.frame("SELECT DISTINCT table_schema AS s FROM information_schema.tables WHERE table_catalog = 'lake'")

    assert {"raw", "staging", "intermediate", "marts"} <= set(names["s"])
    assert not [name for name in names["s"] if "_" in name]


def _rows(lake: Lake, table: str, first: date, end: date) -> list[tuple[object, ...]]:
    """Rows of some days in the order of the table."""
    with lake.connect() as connection:
        return connection.execute(
            f"SELECT * FROM {table} WHERE event_day >= ? AND event_day < ?", [first, end]
        ).fetchall()


def test_window_touches_its_days_only_and_repeats_exactly(built: Lake, project: WarehouseProject) -> None:
    before = {table: (_rows(built, table, _DAY_1, _DAY_2), _rows(built, table, _DAY_3, _END)) for table in _FACTS}
    _insert(
        built,
        [
            ("l1", "ann", "tea", "view", "2024-03-01 15:00:00", None),  # late, outside the window: not built yet
            ("l2", "ann", "tea", "view", "2024-03-02 15:00:00", None),
        ],
    )

    output = _run_window(project, built, _DAY_2, _DAY_3)
    first = {table: _rows(built, table, _DAY_2, _DAY_3) for table in _FACTS}
    snapshots = built.current_snapshot()
    _run_window(project, built, _DAY_2, _DAY_3)

    assert "Unable to do partial parsing" not in output
    assert "l2" in [row[0] for row in first["marts.interactions"]]
    for table in _FACTS:
        assert _rows(built, table, _DAY_2, _DAY_3) == first[table]
        assert (_rows(built, table, _DAY_1, _DAY_2), _rows(built, table, _DAY_3, _END)) == before[table]
    # One transaction for each table: no reader ever sees a window deleted and not yet filled.
    assert built.current_snapshot() - snapshots == len(_FACTS)


def test_window_for_all_days_equals_a_whole_build(built: Lake, project: WarehouseProject) -> None:
    _run_window(project, built, _DAY_1, _END)
    by_window = [built.fingerprint(table) for table in _FACTS]
    _dbt(project, built, ["run", "--select", "config.materialized:incremental"])

    assert [built.fingerprint(table) for table in _FACTS] == by_window


def test_failed_insert_leaves_the_old_rows(built: Lake, project: WarehouseProject) -> None:
    """The delete of a window is undone when its insert fails: here the contract refuses a missing user."""
    before = built.fingerprint("intermediate.int_events_deduplicated")
    built.write(lambda c: c.execute("ALTER TABLE raw.events ALTER user_id DROP NOT NULL"), message="loosen")
    built.write(
        lambda c: c.execute(
            "INSERT INTO raw.events SELECT * REPLACE ('bad' AS event_id, NULL AS user_id) FROM raw.events LIMIT 1"
        ),
        message="break",
    )

    with pytest.raises(AssertionError, match="NOT NULL"):
        _run_window(project, built, _DAY_1, _END)

    assert built.fingerprint("intermediate.int_events_deduplicated") == before


def test_docs_are_one_file(built: Lake, project: WarehouseProject) -> None:
    page = generate_docs(project, built)

    assert page.parent == project.docs
    assert "int_events_sessionized" in page.read_text()


def test_window_must_be_whole_days(built: Lake, project: WarehouseProject) -> None:
    noon = (datetime(2024, 3, 1) + timedelta(hours=12)).isoformat()
    window = ["--event-time-start", noon, "--event-time-end", "2024-03-02"]

    with pytest.raises(AssertionError, match="must be midnight UTC"):
        _dbt(project, built, ["run", *window, "--select", "int_events_filtered"])


def test_missing_project_is_a_clear_error(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"holds no dbt_project\.yml"):
        prepare_project(WarehouseProject(tmp_path, tmp_path / "home"), lake)


def test_no_file_was_written_to_the_source(built: Lake) -> None:
    assert not [name for name in ("target", "logs", ".user.yml", "dbt_packages") if (_SOURCE / name).exists()]
