"""Every dimension is a real setting; what is found comes back into a configuration through TOML."""

import tomllib

import pytest

from models.errors import ConfigurationError
from models.recommender_config import RecommenderConfig
from models.search_space import SPACE, Dimension, space_of, toml_fragment, values_of, with_values

CONFIG = RecommenderConfig(retrievers=("popularity", "ease", "sequence"))
EVERY = [(f"{section}.{field}", one) for section, fields in SPACE.items() for field, one in fields.items()]


@pytest.mark.parametrize(("name", "dimension"), EVERY, ids=[name for name, _ in EVERY])
def test_both_ends_of_every_dimension_are_valid_settings(name: str, dimension: Dimension) -> None:
    ends = dimension.choices or (dimension.low, dimension.high)
    for end in ends:
        value = int(end) if dimension.is_integer else end
        assert values_of(with_values(CONFIG, {name: value}), {name: dimension}) == {name: value}


def test_fusion_searches_the_configured_retrievers_and_a_target_itself_alone() -> None:
    sections = {name.split(".")[0] for name in space_of(CONFIG, "fusion")}
    assert sections == {"popularity", "ease", "sequence"}
    assert {name.split(".")[0] for name in space_of(CONFIG, "ease")} == {"ease"}


def test_fusion_leaves_out_what_has_nothing_to_do() -> None:
    table = {"retrievers": ["popularity", "repeat"]}
    for exclude_seen, expected in ((True, {"popularity"}), (False, {"popularity", "repeat"})):
        config = RecommenderConfig.from_dict({**table, "exclude_seen": exclude_seen})
        assert {name.split(".")[0] for name in space_of(config, "fusion")} == expected


def test_a_target_that_is_not_configured_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'als' must be fusion or one of popularity, ease, sequence"):
        space_of(CONFIG, "als")


def test_the_fragment_is_a_table_of_a_domain_that_sets_the_same_values() -> None:
    values = {"ease.regularization": 212.0, "sequence.blocks": 2, "sequence.norm": "pre", "ease.recency_decay": 0.75}
    table = tomllib.loads(toml_fragment(values))
    read = RecommenderConfig.from_dict({"retrievers": list(CONFIG.retrievers), **table["recommender"]})
    assert read == with_values(CONFIG, values)
    assert read != CONFIG
