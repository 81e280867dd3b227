import numpy as np

from models.bootstrap import Interval, bootstrap_intervals
from models.evaluation import EvaluationResult, SliceResult
from models.report import ablation, comparison_table, comparisons, effects_table, metrics_table, slices_table


def result(ndcg: list[float], **effects: float) -> EvaluationResult:
    values = np.array(ndcg, dtype=np.float64)
    interval = bootstrap_intervals(values[:, None], seed=0)[0]
    users = np.array([f"u{i}" for i in range(len(values))], dtype=object)
    slices = [SliceResult("items", "cold", 3, {"ndcg@10": Interval(0.25, 0.2, 0.3)})]
    return EvaluationResult(users, {"ndcg@10": interval}, effects, slices, {"ndcg@10": values})


def test_best_model_comes_first_and_bold() -> None:
    table = metrics_table({"popularity": result([0.1, 0.1]), "fusion": result([0.5, 0.5])}, ["ndcg@10"])
    assert table.splitlines()[2:] == [
        "| fusion | **0.5000 [0.5000, 0.5000]** |",
        "| popularity | 0.1000 [0.1000, 0.1000] |",
    ]


def test_undefined_values_are_left_empty() -> None:
    assert metrics_table({"a|b": result([])}, ["ndcg@10", "map@10"]).splitlines()[2] == "| a\\|b |  |  |"
    assert (
        effects_table({"a": result([1.0], **{"gini@10": 0.25})}, ["gini@10", "x"]).splitlines()[2] == "| a | 0.25 |  |"
    )


def test_slices_follow_all_users() -> None:
    lines = slices_table(result([1.0]), ["ndcg@10"]).splitlines()
    assert lines[2:] == [
        "| all | all | 1 | 1.0000 [1.0000, 1.0000] |",
        "| items | cold | 3 | 0.2500 [0.2000, 0.3000] |",
    ]


def test_comparison_says_who_wins() -> None:
    compared = comparisons("ours", {"ours": result([0.5] * 9), "theirs": result([0.4] * 9)}, seed=0)
    assert "| theirs | ndcg@10 | +0.1000 [+0.1000, +0.1000] |" in comparison_table("ours", compared)
    assert "| 100.0% / 0.0% | better |" in comparison_table("ours", compared)


def test_ablation_hides_nothing() -> None:
    noise = [0.0, 1.0] * 50
    stages = {
        "raw": result(noise),
        "pretrained": result(noise[::-1]),
        "finetuned": result([value - 0.01 for value in noise[::-1]]),
    }
    text = ablation(stages, seed=0)
    assert "The stage pretrained does not clearly help here" in text
    assert "The stage finetuned HURTS here (-0.0100 ndcg@10" in text
    better = ablation({"raw": result([0.1] * 5), "pretrained": result([0.2] * 5)}, seed=0)
    assert "The stage pretrained helps (+0.1000 ndcg@10" in better


def test_ablation_without_users_says_so() -> None:
    assert "nothing can be said" in ablation({"raw": result([]), "pretrained": result([])}, seed=0)
