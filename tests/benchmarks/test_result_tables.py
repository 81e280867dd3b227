"""Tables and pictures from results, on figures made for it."""

import importlib
from types import ModuleType
from typing import Any

import pytest


def model(recall: float, ndcg: float) -> dict[str, Any]:
    interval = {"value": ndcg, "low": ndcg - 0.002, "high": ndcg + 0.002}
    return {
        "metrics": {"recall@10": {"value": recall, "low": 0.0, "high": 1.0}, "ndcg@10": interval},
        "effects": {"category_diversity@10": 0.5},
    }


RUN = {
    "dataset": "amazon-reviews",
    "protocol": "leave-one-out",
    "tie_order": "p5_position",
    "models": {"ease": model(0.0775, 0.0456), "fusion": model(0.1092, 0.06496)},
}
OTHER = {**RUN, "tie_order": "position", "models": {"fusion": model(0.1164, 0.0697)}}


@pytest.fixture
def tables() -> ModuleType:
    return importlib.import_module("result_tables")


@pytest.fixture
def plots(tables: ModuleType) -> ModuleType:
    return importlib.import_module("plots")


def test_both_tie_orders_stand_side_by_side_and_the_best_on_top(tables: ModuleType) -> None:
    grouped = tables.by_dataset({"a": RUN, "b": OTHER})
    assert list(grouped) == ["amazon-reviews, leave-one-out"]
    lines = tables.accuracy_table(grouped["amazon-reviews, leave-one-out"]).splitlines()
    assert lines[2] == ("| **Freshet: fusion of all** | .1092 | .0650 [.0630, .0670] | .1164 | .0697 [.0677, .0717] |")
    assert lines[3] == "| EASE | .0775 | .0456 [.0436, .0476] |  |  |"


def test_peers_are_sorted_by_the_test(tables: ModuleType) -> None:
    def peer(ndcg: float) -> dict[str, Any]:
        parts = {"test": model(0.05, ndcg)["metrics"], "validation": model(0.06, 0.04)["metrics"]}
        return {**parts, "fit_processor_seconds": 2.4}

    lines = tables.peers_table({"models": {"implicit ALS": peer(0.018), "rectools EASE": peer(0.03)}}).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| rectools EASE", "| implicit ALS"]
    assert lines[2] == "| rectools EASE | .0500 | .0300 [.0280, .0320] | .0400 | 2 |"


def test_costs_have_a_row_for_each_model(tables: ModuleType) -> None:
    cost = {"fit_seconds": 31.25, "fit_memory_gib": None, "parameters": 2420200, "batch_ms": 0.5, "single_ms": 3.26}
    row = tables.costs_table({"costs": {"ease": cost}}).splitlines()[2]
    assert row == "| EASE | 31.2 |  | 2,420,200 | 0.50 | 3.3 |"
    assert tables.costs_table({}) == ""


def test_only_what_stands_between_the_markers_is_replaced(tables: ModuleType) -> None:
    text = "before\n<!-- beauty -->\nold\n<!-- /beauty -->\nafter\n"
    assert tables.replace_between(text, "beauty", "new") == text.replace("old", "new")
    with pytest.raises(ValueError, match="movies"):
        tables.replace_between(text, "movies", "new")


def test_bars_hold_ours_and_the_peers_with_their_intervals(plots: ModuleType) -> None:
    peers = {"models": {"rectools EASE": {"test": model(0.05, 0.03)["metrics"]}}}
    axes = plots.accuracy_bars(RUN, peers).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["rectools EASE", "EASE", "Freshet: fusion of all"]
    assert [round(bar.get_width(), 4) for bar in axes.patches] == [0.03, 0.0456, 0.065]


def test_the_chosen_number_of_places_is_marked(plots: ModuleType) -> None:
    options = [
        {"places": [], "recall": 0.08, "cold_recall": 0.0},
        {"places": [9], "recall": 0.0796, "cold_recall": 0.1},
    ]
    figure = plots.cold_curve({"dataset": "d", "test": options, "chosen_places": [9]})
    assert [text.get_text() for text in figure.axes[0].texts] == ["0 places", "1 places (chosen)"]


def test_each_method_is_a_line_over_its_weights(plots: ModuleType) -> None:
    rows = [
        {"method": "", "weight": 0.0, "ndcg@10": 0.2, "diversity@10": 0.4},
        {"method": "mmr", "weight": 0.1, "ndcg@10": 0.19, "diversity@10": 0.5},
        {"method": "mmr", "weight": 0.5, "ndcg@10": 0.15, "diversity@10": 0.7},
    ]
    lines = plots.method_curves({"domain": "shop", "rows": rows}).axes[0].lines
    assert [line.get_label() for line in lines] == ["none", "mmr"]
    assert lines[1].get_xydata().tolist() == [[0.5, 0.19], [0.7, 0.15]]


def test_each_catalogue_is_a_line_over_the_touched_users(plots: ModuleType) -> None:
    points = [{"items": items, "users": users, "seconds": 0.1} for items in (1_000, 20_000) for users in (1, 10, 100)]
    lines = plots.touched_curve({"curve": points}).axes[0].lines
    assert [line.get_label() for line in lines] == ["1,000 items", "20,000 items"]
    assert lines[0].get_xdata().tolist() == [1, 10, 100]


def test_known_events_run_along_the_curve(plots: ModuleType) -> None:
    rows = [{"known": known, "ndcg@10": 0.1 * known, "low": 0.1 * known, "high": 0.1 * known} for known in (0, 1, 3)]
    line = plots.events_curve({"dataset": "d", "rows": rows}).axes[0].lines[0]
    assert line.get_xdata().tolist() == [0, 1, 3]
