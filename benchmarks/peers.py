"""Other libraries on the same split in one go, each in its own environment, judged by our metrics; and ours by theirs.

The split is written as Parquet into a temporary folder; a runner of each peer (`benchmarks/peers/run_*.py`) trains on
the training part with settings that its facts name, for at most `--seconds` of processor time, and returns 20 items
for each user. As for our models, nothing is fitted on validation interactions; they are in the histories of the test.
Lists that hold an item of the user's history are refused. One saved list is judged by each library's own metrics,
which must agree with ours to 1e-9.

    python benchmarks/peers.py --data DIR --source amazon-reviews --tie-order p5_position --envs DIR
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from dataset_arguments import add_dataset_arguments, dataset_file, load_dataset
from exchange import read_lists, write_split
from landed_data import LandedData
from peer_environment import REQUIREMENTS, peer_python, run_peer
from run_facts import write_results

from models.evaluation import EvaluationResult, evaluate
from models.interactions import IntArray
from models.leakage import check_no_leakage
from models.metrics import mean, metrics_per_user
from models.splitting import Split

RESULTS = Path(__file__).parent / "results" / "peers"
MODELS = {
    "implicit": ("ItemKNN", "ALS"),
    "rectools": ("EASE", "SASRec", "BERT4Rec"),
    "lenskit": ("ItemKNN", "ALS"),
}
TOP_K, K = 20, 10
TOLERANCE = 1e-9


def main() -> None:
    """Run all peers, print the table and write the results, after each row: a run takes half an hour."""
    arguments = parse()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        data = load_dataset(arguments, Path(folder))
        split = data.split(arguments.protocol)
        check_no_leakage(split.train, split.test, exclude_seen=data.domain.exclude_seen)
        exchange = Path(folder) / "split"
        write_split(split, data.catalogue.item_ids, exchange)
        models: dict[str, Any] = {}
        agreement: dict[str, Any] = {}
        facts: dict[str, Any] = {
            "dataset": arguments.name or data.domain.name,
            "protocol": arguments.protocol,
            "tie_order": arguments.tie_order,
            "models": models,
            "metric_agreement": agreement,
        }

        def keep() -> None:
            if not arguments.peers and not arguments.models:
                write_results(RESULTS / dataset_file(arguments, data), facts, begun=begun)

        kept: Path | None = None
        for peer in arguments.peers or MODELS:
            python = peer_python(arguments.envs, peer)
            for model in arguments.models or MODELS[peer]:
                out = Path(folder) / peer / model
                words = ["--data", str(exchange), "--out", str(out), "--model", model]
                run_peer(python, peer, [*words, "--seconds", str(arguments.seconds)])
                models[f"{peer} {model}"] = judged(out, split, data)
                say(row(f"{peer} {model}", models[f"{peer} {model}"]))
                kept = kept or out / "test.npy"
                keep()
            if kept is not None:
                agreement[peer] = agree(python, peer, exchange, kept, split, Path(folder))
                say(f"metrics of {peer} agree with ours: {', '.join(agreement[peer]['metrics'])}")
                keep()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_dataset_arguments(parser, tie_order="p5_position")
    parser.add_argument("--peers", nargs="*", choices=sorted(REQUIREMENTS), help="only these; writes no results")
    parser.add_argument("--models", nargs="*", help="only these models of the peers; writes no results")
    parser.add_argument("--envs", type=Path, required=True, help="folder of the peers' environments, made when absent")
    parser.add_argument("--seconds", type=float, default=300.0, help="processor time of one training, at most")
    return parser.parse_args()


def judged(out: Path, split: Split, data: LandedData) -> dict[str, Any]:
    """What a peer's lists are worth on both parts, and how they were made."""
    facts: dict[str, Any] = json.loads((out / "facts.json").read_text(encoding="utf-8"))
    for part, holdout in (("validation", split.validation), ("test", split.test)):
        lists = read_lists(out / f"{part}.npy", holdout, top_k=TOP_K)
        facts[part] = plain(evaluate(lists, holdout, split.train, data.catalogue, ks=(5, 10, 20), seed=0))
    return facts


def plain(result: EvaluationResult) -> dict[str, Any]:
    """Metrics with intervals, and coverage."""
    stored: Any = result.to_dict()
    return {**stored["metrics"], "coverage@10": stored["effects"]["coverage@10"], "users": stored["users"]}


def agree(python: Path, peer: str, exchange: Path, lists: Path, split: Split, folder: Path) -> dict[str, Any]:
    """Judge one saved list by the peer's metrics and by ours.

    Raises:
        SystemExit: a metric differs by more than `TOLERANCE`.
    """
    out = folder / peer / "check"
    run_peer(python, peer, ["--data", str(exchange), "--out", str(out), "--check", str(lists)])
    checked: dict[str, Any] = json.loads((out / "check.json").read_text(encoding="utf-8"))
    ours = own_metrics(read_lists(lists, split.test, top_k=TOP_K), split)
    differences = {name: abs(ours[name] - theirs) for name, theirs in checked["metrics"].items()}
    wrong = {name: value for name, value in differences.items() if not value <= TOLERANCE}
    if wrong:
        raise SystemExit(f"our metrics and those of {peer} differ: {wrong}")
    return {
        "version": checked["version"],
        "metrics": checked["metrics"],
        "largest_difference": max(differences.values()),
    }


def own_metrics(lists: IntArray, split: Split) -> dict[str, float]:
    """Our metrics on lists of the test part."""
    return {name: mean(values) for name, values in metrics_per_user(lists, split.test.targets, (K,)).items()}


def row(name: str, facts: dict[str, Any]) -> str:
    """One line of the table."""
    cells = [
        f"{facts[part][metric]['value']:.4f}" for part in ("validation", "test") for metric in ("recall@10", "ndcg@10")
    ]
    return f"| {name} | {' | '.join(cells)} | {facts['fit_processor_seconds']} s |"


def say(text: str) -> None:
    """Report progress at once, also into a pipe."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
