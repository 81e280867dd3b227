"""The committed results as the tables of the README."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
LABELS = {
    "fusion": "**Freshet: fusion of all**",
    "sequence": "sequence transformer, ID + text",
    "sequence_linear": "what comes next by ridge regression",
    "ease": "EASE",
    "als": "ALS",
    "bpr": "BPR",
    "item_knn": "ItemKNN",
    "user_knn": "UserKNN",
    "co_occurrence": "ItemKNN",
    "content_finetuned": "text, fine-tuned encoder",
    "content_pretrained": "text, encoder pretrained on the domain",
    "content_raw": "text, encoder as it came",
    "repeat": "what the user chose before",
    "popularity": "popularity",
    "generative": "generative recall under a prefix trie",
    "two_tower": "two towers with a score head",
    "graph": "graph propagation",
}
"""Models by the names of the results; one that is missing keeps its own name."""
ORDERS = {"p5_position": "P5 order", "position": "`position` order"}


def read_results(kind: str) -> dict[str, dict[str, Any]]:
    """All committed results of a kind, such as `accuracy`, by the name of the file without its suffix."""
    files = sorted((RESULTS / kind).glob("*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


def accuracy_table(columns: Mapping[str, Mapping[str, Any]]) -> str:
    """Models by Recall@10 and NDCG@10 with interval on one or more runs side by side, best NDCG of the first on top.

    Args:
        columns: Results of `benchmarks/accuracy.py` by the words over their columns, empty for none.
    """
    first = next(iter(columns.values()))["models"]
    names = sorted({name for run in columns.values() for name in run["models"]}, key=lambda name: _rank(first, name))
    header = ["", *(text for words in columns for text in (f"{words}: Recall@10" if words else "Recall@10", "NDCG@10"))]
    rows = [
        [LABELS.get(name, name), *(cell for run in columns.values() for cell in _cells(run, name))] for name in names
    ]
    return table(header, rows, right=range(1, len(header), 2))


def costs_table(run: Mapping[str, Any]) -> str:
    """What each model cost on the machine of the run; empty for results without costs."""
    costs: Mapping[str, Mapping[str, Any]] = run.get("costs", {})
    if not costs:
        return ""
    header = ["", "training s", "peak GiB", "floats", "ms a user, batch", "ms, one user"]
    rows = [
        [
            LABELS.get(name, name),
            "" if cost["fit_seconds"] is None else f"{cost['fit_seconds']:.1f}",
            "" if cost["fit_memory_gib"] is None else f"{cost['fit_memory_gib']:.2f}",
            f"{cost['parameters']:,}",
            f"{cost['batch_ms']:.2f}",
            f"{cost['single_ms']:.1f}",
        ]
        for name, cost in costs.items()
    ]
    return table(header, rows, right=range(1, len(header)))


def peers_table(run: Mapping[str, Any]) -> str:
    """Other libraries on the same split, best NDCG@10 of the test on top."""
    models: Mapping[str, Any] = run["models"]
    header = ["", "Recall@10", "NDCG@10", "validation NDCG@10", "training, processor s"]
    rows = [
        [
            name,
            _short(facts["test"]["recall@10"]["value"]),
            with_interval(facts["test"]["ndcg@10"]),
            _short(facts["validation"]["ndcg@10"]["value"]),
            f"{facts['fit_processor_seconds']:.0f}",
        ]
        for name, facts in sorted(models.items(), key=lambda pair: -pair[1]["test"]["ndcg@10"]["value"])
    ]
    return table(header, rows, right=(1, 3, 4))


def by_dataset(results: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Accuracy results by dataset and protocol; the two tie orders of Amazon reviews stand side by side."""
    grouped: dict[str, dict[str, Mapping[str, Any]]] = {}
    for run in results.values():
        is_amazon = run["dataset"] == "amazon-reviews"
        words = ORDERS.get(str(run.get("tie_order")), "") if is_amazon else ""
        grouped.setdefault(f"{run['dataset']}, {run['protocol']}", {})[words] = run
    return grouped


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int]) -> str:
    """A markdown table; columns in `right` are right-aligned."""
    rule = ["---:" if place in right else "---" for place in range(len(header))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))


def with_interval(interval: Mapping[str, float]) -> str:
    """A value and its interval."""
    return f"{_short(interval['value'])} [{_short(interval['low'])}, {_short(interval['high'])}]"


def with_difference(comparison: Mapping[str, float]) -> str:
    """A paired difference and its interval."""
    return f"{comparison['difference']:+.4f} [{comparison['low']:+.4f}, {comparison['high']:+.4f}]"


def replace_between(text: str, marker: str, content: str) -> str:
    """The text with what stands between `<!-- marker -->` and `<!-- /marker -->` replaced.

    Raises:
        ValueError: the markers are not there.
    """
    begin, end = f"<!-- {marker} -->\n", f"<!-- /{marker} -->"
    if begin not in text or end not in text:
        raise ValueError(f"the text has no {begin.strip()} … {end}")
    head, rest = text.split(begin, 1)
    return head + begin + content.rstrip("\n") + "\n" + end + rest.split(end, 1)[1]


def _cells(run: Mapping[str, Any], name: str) -> list[str]:
    if name not in run["models"]:
        return ["", ""]
    metrics = run["models"][name]["metrics"]
    return [_short(metrics["recall@10"]["value"]), with_interval(metrics["ndcg@10"])]


def _rank(models: Mapping[str, Any], name: str) -> float:
    return -float(models[name]["metrics"]["ndcg@10"]["value"]) if name in models else 0.0


def _short(value: float) -> str:
    """Four digits without the zero before the point."""
    return f"{value:.4f}".removeprefix("0")
