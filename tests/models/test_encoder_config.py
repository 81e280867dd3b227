"""Validation of hyper-parameters."""

from typing import Any

import pytest

from models.encoder_config import FinetuningConfig, PretrainingConfig
from models.errors import ConfigurationError


@pytest.mark.parametrize(
    ("key", "value"),
    [("steps", -1), ("batch_size", 1), ("learning_rate", 0.0), ("mask_share", 1.0), ("max_tokens", 4), ("patience", 0)],
)
def test_value_out_of_range_is_named(key: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"PretrainingConfig\.{key} = "):
        PretrainingConfig.from_mapping({key: value})


def test_unknown_key_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"no key 'tempratur'; it knows .*temperature"):
        FinetuningConfig.from_mapping({"tempratur": 0.1})


def test_lora_and_frozen_layers_exclude_each_other() -> None:
    with pytest.raises(ConfigurationError, match="exclude each other"):
        FinetuningConfig(lora_rank=8, frozen_layers=2)


def test_defaults_are_valid() -> None:
    assert PretrainingConfig.from_mapping({}) == PretrainingConfig()
    assert FinetuningConfig.from_mapping({"steps": 3}).steps == 3
