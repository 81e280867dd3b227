"""Figures of an evaluation, drawn without a display and without pyplot's global state."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from models.bootstrap import Interval
from models.evaluation import EvaluationResult
from models.interactions import FloatArray, ObjectArray

_MOST_POINTS = 5_000
_MOST_CATEGORIES = 9
_GREY, _BLUE = "#b8b8b8", "#2a6fbb"
_DPI = 120


def training_curves(curves: Mapping[str, Sequence[tuple[float, float]]], *, x_label: str = "step") -> Figure:
    """Lines of (step, value), one panel per name, such as `loss` or `validation_ndcg@10`."""
    figure = Figure(figsize=(4.2 * max(len(curves), 1), 3.2), layout="constrained")
    for place, (name, points) in enumerate(curves.items()):
        axes = figure.add_subplot(1, len(curves), place + 1)
        steps, values = zip(*points, strict=True) if points else ((), ())
        axes.plot(steps, values, color=_BLUE, marker="o" if len(steps) < 30 else None, markersize=3)
        axes.set(title=name, xlabel=x_label)
        _tidy(axes)
    return figure


def metric_bars(results: Mapping[str, EvaluationResult], metric: str = "ndcg@10", *, ours: str = "") -> Figure:
    """One bar with its interval for each model, best on top; `ours` is coloured."""
    order = sorted(results, key=lambda name: np.nan_to_num(results[name].metrics[metric].value))
    figure = Figure(figsize=(6.4, 0.8 + 0.38 * len(order)), layout="constrained")
    axes = figure.add_subplot()
    colours = [_BLUE if name == ours else _GREY for name in order]
    _bars(axes, order, [results[name].metrics[metric] for name in order], colours)
    axes.set(title=f"{metric} with 95 % bootstrap intervals")
    return figure


def slice_bars(result: EvaluationResult, metric: str = "ndcg@10") -> Figure:
    """One bar with its interval for each slice of users or targets; the line is the mean of all users."""
    figure = Figure(figsize=(6.4, 0.9 + 0.38 * max(len(result.slices), 1)), layout="constrained")
    axes = figure.add_subplot()
    parts = result.slices[::-1]
    names = [f"{part.group}: {part.name} (n = {part.users:,})" for part in parts]
    _bars(axes, names, [part.metrics[metric] for part in parts], [_GREY] * len(parts))
    if not np.isnan(result.metrics[metric].value):
        axes.axvline(result.metrics[metric].value, color=_BLUE, linewidth=1)
    axes.set(title=f"{metric} by slice (line: all users)")
    return figure


def embedding_map(embeddings: FloatArray, categories: ObjectArray, *, seed: int) -> Figure:
    """Items in the plane of their first two principal components, coloured by the most frequent categories.

    Args:
        embeddings: Shape (items, dimension); zero rows (items without text) are left out.
        categories: Category of each item, empty where unknown.
        seed: Chooses which items are drawn when there are more than 5,000.
    """
    has_text = np.flatnonzero(np.abs(embeddings).sum(axis=1) > 0)
    drawn = has_text
    if len(has_text) > _MOST_POINTS:
        drawn = np.sort(np.random.default_rng(seed).choice(has_text, _MOST_POINTS, replace=False))
    figure = Figure(figsize=(7.2, 5.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=f"Item embeddings, first two principal components ({len(drawn):,} items)", xticks=[], yticks=[])
    if len(drawn) < 3 or embeddings.shape[1] < 2:
        axes.text(0.5, 0.5, "too few items with text to draw a map", ha="center", transform=axes.transAxes)
        return figure
    pca = PCA(n_components=2, random_state=seed, svd_solver="full" if len(drawn) < 1_000 else "randomized")
    points = pca.fit_transform(embeddings[drawn].astype(np.float64))
    names = categories[drawn].astype(str)
    values, counts = np.unique(names[names != ""], return_counts=True)
    largest = values[np.argsort(-counts, kind="stable")][:_MOST_CATEGORIES]
    others = ~np.isin(names, largest)
    axes.scatter(points[others, 0], points[others, 1], s=4, color=_GREY, label="other", linewidths=0)
    for name in largest:
        chosen = points[names == name]
        axes.scatter(chosen[:, 0], chosen[:, 1], s=7, label=str(name)[:32], linewidths=0)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, markerscale=2)
    return figure


def seconds_over_time(
    lines: Mapping[str, Sequence[tuple[datetime, float]]], limits: Mapping[str, float], *, title: str
) -> Figure:
    """Lines of (moment, seconds) on a logarithmic scale, with dashed lines at limits that are near enough to show."""
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for shade, (name, points) in zip(("#9cc3ea", _BLUE, "#123a63"), lines.items(), strict=False):
        moments, seconds = zip(*points, strict=True) if points else ((), ())
        axes.plot(moments, seconds, color=shade, marker="o", markersize=3, label=name)
    highest = max((value for points in lines.values() for _, value in points), default=0.0)
    for name, limit in limits.items():
        if limit <= max(3 * highest, min(limits.values())):
            axes.axhline(limit, color="#b03a2e", linestyle="--", linewidth=1)
            axes.annotate(name, (1, limit), xycoords=("axes fraction", "data"), fontsize=7, ha="right", va="bottom")
    axes.set(title=title, ylabel="seconds", yscale="log")
    axes.tick_params(axis="x", rotation=30)
    if lines:
        axes.legend(fontsize=7, frameon=False)
    _tidy(axes)
    return figure


def save_figure(figure: Figure, path: Path) -> Path:
    """Write as PNG without a date or version inside, so equal figures are equal files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_of(figure))
    return path


def png_of(figure: Figure) -> bytes:
    """A figure as PNG, without a date or version inside."""
    image = BytesIO()
    figure.savefig(image, dpi=_DPI, format="png", metadata={"Software": None})
    return image.getvalue()


def _bars(axes: Axes, names: Sequence[str], intervals: Sequence[Interval], colours: Sequence[str]) -> None:
    values = np.nan_to_num([interval.value for interval in intervals])
    low = np.nan_to_num([interval.value - interval.low for interval in intervals])
    high = np.nan_to_num([interval.high - interval.value for interval in intervals])
    errors = np.maximum(np.stack([low, high]), 0)
    axes.barh(names, values, color=colours, xerr=errors, error_kw={"linewidth": 1, "capsize": 2})
    _tidy(axes)


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
