import json
import socket
from pathlib import Path

import pytest

from orchestration.cli import main
from orchestration.doctor import examine, masked, settings_in_force
from orchestration.settings import load_settings, write_home_file


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "DOMAIN", "PSEUDONYM_KEY", "ENCODER"):
        monkeypatch.delenv(f"FRESHET_{name}", raising=False)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("postgresql://freshet:s3cret@db:5432/dagster", "postgresql://freshet:***@db:5432/dagster"),
        ("postgres:dbname=lake password=s3cret host=db", "postgres:dbname=lake password=*** host=db"),
        ("postgres:password='s3 cret' host=db", "postgres:password=*** host=db"),
        ("sqlite:/data/catalogue.sqlite", "sqlite:/data/catalogue.sqlite"),
    ],
)
def test_passwords_in_addresses_are_masked(value: str, shown: str) -> None:
    assert masked(value) == shown


def test_settings_are_shown_with_their_origin_and_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_home_file(tmp_path, {"domain": "feed"})
    monkeypatch.setenv("FRESHET_PSEUDONYM_KEY", "hunter2")
    shown = {one.name: (one.value, one.origin) for one in settings_in_force(load_settings(home=tmp_path))}
    assert shown["domain"] == ("feed", "freshet.toml")
    assert shown["pseudonym_key"] == ("***", "environment")
    assert shown["home"] == (str(tmp_path), "command line")
    assert shown["device"] == ("auto", "default")


def test_a_sound_machine_has_nothing_broken(tmp_path: Path) -> None:
    findings = list(examine(load_settings(home=tmp_path)))
    assert [one for one in findings if one.level == "broken"] == []
    assert {one.name for one in findings if one.level == "warning"} >= {"pseudonym key"}
    assert all(one.remedy for one in findings if one.level != "ok")


def test_what_is_broken_says_how_to_mend_it_and_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRESHET_ENCODER", str(tmp_path / "absent"))
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--json", "--home", str(tmp_path)])
    assert ended.value.code == 1
    findings = {one["name"]: one for one in json.loads(capsys.readouterr().out)["findings"]}
    assert findings["encoder weights"]["level"] == "broken"
    assert str(tmp_path / "absent") in findings["encoder weights"]["says"]


def test_a_damaged_catalogue_is_broken(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "catalogue.sqlite").write_text("no database at all, but long enough to be read as one " * 40)
    findings = {one.name: one for one in examine(load_settings(home=tmp_path))}
    assert findings["lake"].level == "broken"


def test_a_port_in_use_is_a_warning(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", 3000))
        except OSError:
            pass  # somebody listens there already, which is what this test needs
        else:
            other.listen()
        findings = {one.name: one for one in examine(load_settings(home=tmp_path))}
    assert findings["port 3000"].level == "warning"
    assert "--port" in findings["port 3000"].remedy or "another port" in findings["port 3000"].remedy
