"""Evaluation in words and tables (Markdown), for people to read in Dagster, MLflow and the README."""

import math
from collections.abc import Mapping, Sequence

from models.bootstrap import Comparison, Interval
from models.evaluation import EvaluationResult, compare

HEADLINES = ("recall@10", "ndcg@10", "mrr@10", "hit_rate@10")
EFFECTS = ("coverage@10", "novelty@10", "diversity@10", "popularity_bias@10", "gini@10", "cold_share@10")


def metrics_table(results: Mapping[str, EvaluationResult], metrics: Sequence[str] = HEADLINES) -> str:
    """One row per model, best NDCG@10 first; the best value of each column is bold.

    Args:
        results: Evaluations by model name, all on one holdout.
        metrics: Columns; those that a result lacks stay empty.
    """
    order = sorted(results, key=lambda name: -_sortable(results[name].metrics.get("ndcg@10")))
    best = {
        metric: max((_sortable(r.metrics.get(metric)) for r in results.values()), default=0.0) for metric in metrics
    }
    rows = []
    for name in order:
        cells = [name]
        for metric in metrics:
            interval = results[name].metrics.get(metric)
            is_best = interval is not None and interval.value == best[metric]
            cells.append(f"**{interval}**" if is_best else _interval_words(interval))
        rows.append(cells)
    return _table(["model", *metrics], rows)


def effects_table(results: Mapping[str, EvaluationResult], effects: Sequence[str] = EFFECTS) -> str:
    """One row per model: what its lists do to the catalogue."""
    rows = [[name, *(_number(result.effects.get(effect)) for effect in effects)] for name, result in results.items()]
    return _table(["model", *effects], rows)


def slices_table(result: EvaluationResult, metrics: Sequence[str] = ("recall@10", "ndcg@10")) -> str:
    """One row per slice of users or targets."""
    rows = [["all", "all", str(result.users), *(_interval_words(result.metrics.get(metric)) for metric in metrics)]]
    for part in result.slices:
        values = [_interval_words(part.metrics.get(metric)) for metric in metrics]
        rows.append([part.group, part.name, str(part.users), *values])
    return _table(["group", "slice", "users", *metrics], rows)


def comparisons(
    ours: str, results: Mapping[str, EvaluationResult], *, metric: str = "ndcg@10", seed: int, bootstrap: int = 1000
) -> dict[str, Comparison]:
    """Compare the model `ours` with each of the others on the same users."""
    return {
        name: compare(results[ours], result, metric=metric, seed=seed, bootstrap=bootstrap)
        for name, result in results.items()
        if name != ours
    }


def comparison_table(ours: str, compared: Mapping[str, Comparison]) -> str:
    """One row per other model: difference, interval, effect size and verdict."""
    rows = [
        [
            name,
            c.metric,
            f"{c.difference:+.4f} [{c.low:+.4f}, {c.high:+.4f}]",
            f"{c.effect_size:+.3f}",
            f"{c.share_better:.1%} / {c.share_worse:.1%}",
            c.verdict,
        ]
        for name, c in compared.items()
    ]
    return _table([f"{ours} against", "metric", "difference", "effect size d", "users better / worse", "verdict"], rows)


def ablation(
    stages: Mapping[str, EvaluationResult], *, metric: str = "ndcg@10", seed: int, bootstrap: int = 1000
) -> str:
    """What each stage of the encoder adds over the one before it, in a table and in words.

    Args:
        stages: Evaluations of the content retriever by stage, in order: raw, pretrained, finetuned.
        metric: What is compared.
        seed: Seed of the bootstrap.
        bootstrap: Number of resamples.
    """
    names = list(stages)
    rows, words = [], []
    for place, name in enumerate(names):
        cells = [name, _interval_words(stages[name].metrics.get(metric)), "", ""]
        if place:
            step = compare(stages[name], stages[names[place - 1]], metric=metric, seed=seed, bootstrap=bootstrap)
            cells[2:] = [f"{step.difference:+.4f} [{step.low:+.4f}, {step.high:+.4f}]", step.verdict]
            words.append(_stage_words(name, names[place - 1], step))
        rows.append(cells)
    table = _table(["encoder", metric, "against the stage before", "verdict"], rows)
    return "\n\n".join([table, " ".join(words)]) if words else table


def _stage_words(name: str, before: str, step: Comparison) -> str:
    if math.isnan(step.difference):
        return f"No user could be evaluated, so nothing can be said about {name}."
    amount = f"{step.difference:+.4f} {step.metric}, 95 % interval {step.low:+.4f} to {step.high:+.4f}"
    if step.is_better:
        return f"The stage {name} helps ({amount} over {before})."
    if step.is_worse:
        return f"The stage {name} HURTS here ({amount} against {before}); consider leaving it out."
    return f"The stage {name} does not clearly help here ({amount} against {before}); its cost buys nothing yet."


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _interval_words(interval: Interval | None) -> str:
    return "" if interval is None or math.isnan(interval.value) else str(interval)


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.4g}"


def _sortable(interval: Interval | None) -> float:
    return -1.0 if interval is None or math.isnan(interval.value) else interval.value
