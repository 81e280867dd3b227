from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from models.bootstrap import Interval
from models.evaluation import EvaluationResult, SliceResult
from models.plots import embedding_map, metric_bars, save_figure, slice_bars, training_curves


def result(value: float) -> EvaluationResult:
    interval = Interval(value, value - 0.1, value + 0.1)
    slices = [SliceResult("items", name, 2, {"ndcg@10": interval}) for name in ("head", "tail")]
    return EvaluationResult(np.array(["u"], dtype=object), {"ndcg@10": interval}, {}, slices, {})


def widths(figure: Figure) -> list[float]:
    return [round(float(bar.get_width()), 6) for bar in figure.axes[0].patches]


def test_bars_show_the_values_in_order() -> None:
    figure = metric_bars({"ours": result(0.4), "popularity": result(0.2)}, ours="ours")
    assert widths(figure) == [0.2, 0.4]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["popularity", "ours"]


def test_slices_have_one_bar_each() -> None:
    figure = slice_bars(result(0.3))
    assert widths(figure) == [0.3, 0.3]
    assert figure.axes[0].get_yticklabels()[0].get_text() == "items: tail (n = 2)"


def test_undefined_values_draw_empty_bars() -> None:
    assert widths(metric_bars({"a": result(float("nan"))})) == [0.0]


def test_curves_have_one_panel_each() -> None:
    figure = training_curves({"loss": [(0, 2.0), (1, 1.0)], "ndcg": []})
    assert [axes.get_title() for axes in figure.axes] == ["loss", "ndcg"]
    assert figure.axes[0].lines[0].get_ydata().tolist() == [2.0, 1.0]


def test_map_leaves_out_items_without_text() -> None:
    embeddings = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    embeddings[:5] = 0
    categories = np.array(["soap"] * 20 + ["oil"] * 8 + [""] * 2, dtype=object)
    figure = embedding_map(embeddings, categories, seed=0)
    counts = {entry.get_label(): len(entry.get_offsets()) for entry in figure.axes[0].collections}
    assert counts == {"other": 2, "soap": 15, "oil": 8}


@pytest.mark.parametrize("items", [0, 2])
def test_map_of_too_few_items_says_so(items: int) -> None:
    figure = embedding_map(np.ones((items, 4), np.float32), np.array(["a"] * items, dtype=object), seed=0)
    assert "too few items" in figure.axes[0].texts[0].get_text()


def test_equal_figures_are_equal_files(tmp_path: Path) -> None:
    first = save_figure(slice_bars(result(0.3)), tmp_path / "new" / "a.png")
    second = save_figure(slice_bars(result(0.3)), tmp_path / "b.png")
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(b"\x89PNG")
