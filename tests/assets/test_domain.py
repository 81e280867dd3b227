from pathlib import Path

import pytest

from assets.domain import load_domain, packaged_domains
from models.encoder_config import FinetuningConfig, PretrainingConfig
from models.errors import ConfigurationError
from models.recommender_config import RecommenderConfig


@pytest.mark.parametrize("name", packaged_domains())
def test_packaged_domains_load_under_their_own_name(name: str) -> None:
    assert load_domain(name).name == name


@pytest.mark.parametrize("name", packaged_domains())
def test_the_models_accept_their_tables(name: str) -> None:
    domain = load_domain(name)
    PretrainingConfig.from_mapping(domain.pretraining)
    FinetuningConfig.from_mapping(domain.finetuning)
    config = RecommenderConfig.from_dict(domain.recommender)
    assert config.sequence.epochs > 0


def test_the_three_fields_of_use_and_the_datasets_are_packaged() -> None:
    assert packaged_domains() == ["amazon-reviews", "courses", "feed", "movielens", "online-retail", "shop"]


def test_an_unknown_domain_names_those_that_exist() -> None:
    with pytest.raises(ConfigurationError, match="courses, feed"):
        load_domain("bakery")


def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bakery.toml"
    file.write_text("top_kk = 3\n[event_weights]\nview = 1.0\n")
    with pytest.raises(ConfigurationError, match="top_kk"):
        load_domain(str(file))


def test_a_value_out_of_range_names_its_key(tmp_path: Path) -> None:
    file = tmp_path / "bakery.toml"
    file.write_text("cold_share = 1.5\n[event_weights]\nview = 1.0\n")
    with pytest.raises(ConfigurationError, match=r"cold_share = 1\.5"):
        load_domain(str(file))


@pytest.mark.parametrize("weights", ["hide = -1.0", "view = nan", "view = inf", "impression = 0.0"])
def test_something_must_count_as_interest(tmp_path: Path, weights: str) -> None:
    file = tmp_path / "bakery.toml"
    file.write_text(f"[event_weights]\n{weights}\n")
    with pytest.raises(ConfigurationError, match="event_weights"):
        load_domain(str(file))
    file.write_text("[event_weights]\nview = 1.0\nhide = -1.0\n")
    assert load_domain(str(file)).event_weights == {"view": 1.0, "hide": -1.0}
