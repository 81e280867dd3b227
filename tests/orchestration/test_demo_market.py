from datetime import date
from pathlib import Path

import pytest

from models.errors import ConfigurationError
from orchestration.commands.demo_market import generate_market, plan

NOTHING: dict[str, object] = {"domain": None, "users": None, "items": None, "days": None, "seed": None}
SMALL: dict[str, object] = {**NOTHING, "users": 20, "items": 50, "days": 3}


def land(home: Path, asked: dict[str, object], *, advance: int = 0) -> list[str]:
    """Plan and generate; returns the days of the event files that are there afterwards."""
    market, landed = plan(home, home / "landing", asked, advance=advance)
    if landed < market.days:
        generate_market(home, home / "landing", market, landed, lambda done, total: None)
    return sorted(path.name[:10] for path in (home / "landing" / "events").iterdir())


def test_the_days_asked_for_land(tmp_path: Path) -> None:
    assert land(tmp_path, SMALL) == ["2026-01-01", "2026-01-02", "2026-01-03"]
    market, landed = plan(tmp_path, tmp_path / "landing", NOTHING, advance=0)
    assert (landed, market.last_day) == (3, date(2026, 1, 3))


def test_advancing_adds_days_and_keeps_the_files_of_the_others(tmp_path: Path) -> None:
    land(tmp_path, SMALL)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "landing").rglob("*.*")}
    assert land(tmp_path, NOTHING, advance=1)[-1] == "2026-01-04"
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_killed_generation_is_taken_up(tmp_path: Path) -> None:
    market, landed = plan(tmp_path, tmp_path / "landing", SMALL, advance=0)

    def die(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_market(tmp_path, tmp_path / "landing", market, landed, die)
    assert land(tmp_path, SMALL) == ["2026-01-01", "2026-01-02", "2026-01-03"]


def test_another_market_in_the_same_home_is_refused(tmp_path: Path) -> None:
    land(tmp_path, SMALL)
    with pytest.raises(ConfigurationError, match="domain 'shop', not 'feed'"):
        plan(tmp_path, tmp_path / "landing", {**NOTHING, "domain": "feed"}, advance=0)
    with pytest.raises(ConfigurationError, match="holds 3 days"):
        plan(tmp_path, tmp_path / "landing", {**NOTHING, "days": 2}, advance=0)


def test_data_that_is_no_demo_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "landing" / "events").mkdir(parents=True)
    (tmp_path / "landing" / "events" / "ours.csv").write_text("user_id\n")
    with pytest.raises(ConfigurationError, match=r"ours\.csv"):
        plan(tmp_path, tmp_path / "landing", NOTHING, advance=0)
