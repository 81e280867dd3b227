"""Adapters by name."""

import inspect
from pathlib import Path

import pytest

from assets.landing_zone import LandingZone
from assets.sources.registry import SOURCES, load_source
from models.errors import ConfigurationError


@pytest.mark.parametrize("name", SOURCES)
def test_the_options_are_those_of_the_adapter(name: str) -> None:
    parameters = list(inspect.signature(SOURCES[name].load).parameters)

    assert parameters == ["source", "landing", *SOURCES[name].options]


def test_a_source_is_loaded_by_name(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("user_id\nanna\n")

    result = load_source("files", tmp_path / "users.csv", LandingZone(tmp_path / "landing"), {"kind": "users"})

    assert result.rows == {"users": 1}


def test_unknown_names_get_a_guess(tmp_path: Path) -> None:
    zone = LandingZone(tmp_path)
    with pytest.raises(ConfigurationError, match="did you mean 'movielens'"):
        load_source("movie-lens", tmp_path, zone)
    with pytest.raises(ConfigurationError, match="did you mean 'tie_order'"):
        load_source("amazon-reviews", tmp_path, zone, {"tieorder": "position"})
