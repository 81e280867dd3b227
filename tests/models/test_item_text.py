"""Rendering of items as text."""

import pandas as pd

from models.item_text import DESCRIPTION_WORDS, render_item_text, text_hashes


def test_all_parts_in_order() -> None:
    items = pd.DataFrame(
        {
            "title": ["Red  lipstick\n"],
            "brand_or_author": ["Rosa"],
            "categories": [["Beauty", "Lips"]],
            "price": [4.5],
            "currency": ["EUR"],
            "description": ["Stays all day."],
        }
    )
    assert render_item_text(items).tolist() == ["Red lipstick. by Rosa. Beauty > Lips. 4.50 EUR. Stays all day"]


def test_missing_parts_are_left_out() -> None:
    items = pd.DataFrame(
        {"title": ["Nail file", None], "price": [float("nan"), float("inf")], "category": [None, "Nails"]}
    )
    assert render_item_text(items).tolist() == ["Nail file", "Nails"]


def test_item_with_a_price_only_has_no_text() -> None:
    assert render_item_text(pd.DataFrame({"title": [" "], "price": [3.0]})).tolist() == [""]


def test_brand_in_the_title_is_not_repeated() -> None:
    items = pd.DataFrame({"title": ["Prada Candy"], "brand_or_author": ["Prada"]})
    assert render_item_text(items).tolist() == ["Prada Candy"]


def test_description_is_cut() -> None:
    items = pd.DataFrame({"title": ["a"], "description": ["word " * 1000]})
    assert len(render_item_text(items)[0].split()) == 1 + DESCRIPTION_WORDS


def test_index_is_kept_and_no_items_give_no_texts() -> None:
    items = pd.DataFrame({"title": ["a", "b"]}, index=[7, 3])
    assert render_item_text(items).index.tolist() == [7, 3]
    assert render_item_text(items.iloc[:0]).tolist() == []


def test_hash_depends_on_the_text_alone() -> None:
    hashes = text_hashes(pd.Series(["a", "b", "a"]))
    assert hashes[0] == hashes[2] == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    assert hashes[0] != hashes[1]
