from datetime import date
from pathlib import Path

import pytest

from models.errors import ConfigurationError
from orchestration.settings import load_settings, write_home_file


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DOMAIN", "FIRST_DAY", "HOME", "THREADS"):
        monkeypatch.delenv(f"FRESHET_{name}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_paths_lie_under_the_home_folder_unless_set(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "home", artifacts=tmp_path / "big-disk")
    assert settings.lake_catalogue == f"sqlite:{tmp_path / 'home' / 'lake' / 'catalogue.sqlite'}"
    assert settings.artifacts_path == tmp_path / "big-disk"


def test_environment_beats_the_home_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_home_file(tmp_path / "home", {"domain": "feed", "first_day": date(2025, 1, 2)})
    monkeypatch.setenv("FRESHET_HOME", str(tmp_path / "home"))
    assert (load_settings().domain, load_settings().first_day) == ("feed", date(2025, 1, 2))
    monkeypatch.setenv("FRESHET_DOMAIN", "courses")
    assert load_settings().domain == "courses"


def test_writing_the_home_file_keeps_other_keys(tmp_path: Path) -> None:
    write_home_file(tmp_path, {"domain": "feed"})
    write_home_file(tmp_path, {"first_day": date(2025, 1, 2)})
    settings = load_settings(home=tmp_path)
    assert (settings.domain, settings.first_day) == ("feed", date(2025, 1, 2))


def test_an_invalid_value_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRESHET_THREADS", "many")
    with pytest.raises(ConfigurationError, match="FRESHET_THREADS"):
        load_settings()


def test_secrets_are_masked_when_printed(tmp_path: Path) -> None:
    shown = repr(load_settings(home=tmp_path, pseudonym_key="hunter2", alert_urls=["json://user:pass@host"]))
    assert "hunter2" not in shown
    assert "pass" not in shown


def test_a_database_address_without_its_driver_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRESHET_DAGSTER_POSTGRES_URL", "postgresql://freshet:hunter2@db/dagster")
    with pytest.raises(ConfigurationError, match=r"FRESHET_DAGSTER_POSTGRES_URL.*psycopg2") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)
