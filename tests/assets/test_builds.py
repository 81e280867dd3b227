from dataclasses import replace
from datetime import datetime

import pandas as pd
import pytest

from assets.builds import Recipe, built_version, is_stale, last_build, recorded_build
from assets.domain import load_domain
from assets.lake import Lake
from models.errors import DataError
from models.schema import ITEM_TEXTS

SHOP = load_domain("shop")
DAY = datetime(2026, 1, 10)
TABLE = Recipe("1", tables=("features.item_texts",), domain_keys=("top_k",))
TRAINED = Recipe("1", tables=("features.item_texts",), domain_keys=("finetuning",), is_trained=True)


def _texts(text: str) -> pd.DataFrame:
    return pd.DataFrame({"item_id": ["a"], "text": [text], "text_hash": [text]})


def _build(lake: Lake, recipe: Recipe) -> None:
    with recorded_build(lake, SHOP, "made", recipe) as build:
        build.as_of = DAY
        build.version = "v1"


def test_a_build_is_fresh_until_its_input_changes(lake: Lake) -> None:
    lake.replace_table(ITEM_TEXTS, _texts("tea"))
    assert is_stale(lake, SHOP, "made", TABLE, as_of=DAY)
    _build(lake, TABLE)
    assert not is_stale(lake, SHOP, "made", TABLE, as_of=DAY)
    lake.replace_table(ITEM_TEXTS, _texts("cup"))
    assert is_stale(lake, SHOP, "made", TABLE, as_of=DAY)


def test_a_changed_setting_makes_stale_only_what_reads_it(lake: Lake) -> None:
    _build(lake, TABLE)
    assert is_stale(lake, replace(SHOP, top_k=5), "made", TABLE, as_of=DAY)
    assert not is_stale(lake, replace(SHOP, max_per_brand=1), "made", TABLE, as_of=DAY)


def test_a_trained_asset_waits_for_its_days(lake: Lake) -> None:
    _build(lake, TRAINED)
    lake.replace_table(ITEM_TEXTS, _texts("cup"))
    assert not is_stale(lake, SHOP, "made", TRAINED, as_of=datetime(2026, 1, 16))
    assert is_stale(lake, SHOP, "made", TRAINED, as_of=datetime(2026, 1, 17))


def test_a_trained_asset_follows_the_artifact_that_it_rests_on(lake: Lake) -> None:
    on_encoder = replace(TRAINED, builds=("encoder",))
    _build(lake, on_encoder)
    assert not is_stale(lake, SHOP, "made", on_encoder, as_of=DAY)
    with recorded_build(lake, SHOP, "encoder", Recipe("1")) as build:
        build.version = "another encoder"
    assert is_stale(lake, SHOP, "made", on_encoder, as_of=DAY)


def test_a_failed_build_is_not_recorded(lake: Lake) -> None:
    with pytest.raises(DataError), recorded_build(lake, SHOP, "made", TABLE):
        raise DataError("no items")
    assert last_build(lake, "made") is None


def test_an_artifact_that_was_never_built_is_named(lake: Lake) -> None:
    with pytest.raises(DataError, match="made has not been built"):
        built_version(lake, "made")
