"""Rendering of histories as text."""

import pandas as pd

from models.behaviour_text import render_behaviour
from models.interactions import InteractionLog


def _log(chosen: str) -> InteractionLog:
    rows = [("u", item, pd.Timestamp(2026, 1, 1) + pd.Timedelta(hours=hour)) for hour, item in enumerate(chosen)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "event_at"]).assign(weight=1.0)
    return InteractionLog.from_frame(frame, ["a", "b", "c"])


def test_items_in_order_of_time() -> None:
    assert render_behaviour(_log("cab"), ["red lipstick", "nail file", "hand cream"], verb="bought") == [
        "bought hand cream, then red lipstick, then nail file"
    ]


def test_long_histories_are_cut_and_a_single_rest_dropped() -> None:
    assert render_behaviour(_log("abcab"), ["x", "y", "z"], items_per_text=2) == ["chose x, then y", "chose z, then x"]


def test_items_without_title_are_passed_over() -> None:
    assert render_behaviour(_log("abc"), ["x", "", "z"]) == ["chose x, then z"]


def test_one_item_is_no_sequence() -> None:
    assert render_behaviour(_log("a"), ["x", "y", "z"]) == []
