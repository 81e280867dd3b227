"""Accuracy of every retriever alone and of the fusion, on any dataset that Freshet can land.

Full ranking of the whole catalogue; items of the user's history are left out where the domain says so. All models
are fitted by the functions that the product uses: retrievers on train, fusion weights on validation. The histories of
the test hold the validation interactions; nothing is fitted on them unless `--refit` is given.

    python benchmarks/accuracy.py --data DIR --source amazon-reviews --protocol leave-one-out --tie-order p5_position
"""

import argparse
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from dataset_arguments import add_dataset_arguments, dataset_file, load_dataset
from encoder_vectors import Stages, add_encoder_arguments, content_row, train_stages
from landed_data import LandedData
from model_costs import FitMemory, ModelCost, costs_of
from result_tables import costs_table
from run_facts import write_results

from models.bootstrap import Comparison, bootstrap_intervals
from models.content import ContentRetriever
from models.evaluation import EvaluationResult, compare, evaluate
from models.holdout_ranking import rank_alone, rank_holdout
from models.interactions import IntArray
from models.leakage import check_no_leakage
from models.recommender import Recommender
from models.recommender_config import RecommenderConfig, new_retriever
from models.report import HEADLINES, comparison_table, metrics_table
from models.reranking import RerankRules
from models.retriever import Retriever
from models.splitting import Holdout, Split

RESULTS = Path(__file__).parent / "results" / "accuracy"
KS = (5, 10, 20)
FUSION = "fusion"
TEXT_READERS = {"content", "sequence", "two_tower", "generative"}
Models = dict[str, EvaluationResult]


@dataclass(frozen=True)
class Run:
    """Results of one seed."""

    validation: Models
    test: Models
    unmasked: Models
    weights: dict[str, float]
    seconds: dict[str, float]
    costs: dict[str, ModelCost]
    """Of the first seed; empty for the others."""
    curves: dict[str, list[tuple[int, float]]]
    """Epoch and training loss of the models that keep them."""


def main() -> None:
    """Parse the command line, run all seeds, print the table and write the results."""
    arguments = parse()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        data = load_dataset(arguments, Path(folder))
        counts = (
            f"{data.log.user_count:,} users, {data.catalogue.count:,} items, {len(data.log.item_rows):,} interactions"
        )
        say(f"domain {data.domain.name}: {counts}")
        split = data.split(arguments.protocol)
        check_no_leakage(split.train, split.test, exclude_seen=data.domain.exclude_seen)
        config = RecommenderConfig.from_dict({"exclude_seen": data.domain.exclude_seen, **data.domain.recommender})
        if arguments.retrievers:
            config = replace(config, retrievers=tuple(arguments.retrievers))
        needs_text = TEXT_READERS & {*config.retrievers, *arguments.also}
        stages = train_stages(data, split, arguments, Path(folder)) if needs_text else None
        runs = [run(seed, data, split, config, stages, arguments) for seed in range(1, arguments.seeds + 1)]
    test = {name: averaged([one.test[name] for one in runs if name in one.test]) for name in runs[0].test}
    facts = summary(arguments, data, split, runs, test) | {"config": asdict(config)}
    print(metrics_table(test, HEADLINES))
    print("\n" + comparison_table(FUSION, fusion_against(test)))
    print("\n" + costs_table(facts))
    say(f"wrote {write(arguments, data, facts, begun=begun)}")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_dataset_arguments(parser, protocol="temporal")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds; figures are means over them")
    add_encoder_arguments(parser)
    parser.add_argument("--retrievers", nargs="*", help="only these; default: those of the domain")
    parser.add_argument(
        "--also", nargs="*", default=[], help="retrievers with a row of their own that take no part in the fusion"
    )
    parser.add_argument("--refit", action="store_true", help="fit again on train and validation before the test")
    parser.add_argument("--unmasked", action="store_true", help="also rank with the items of the history left in")
    parser.add_argument("--bootstrap", type=int, default=1000)
    return parser.parse_args()


def run(
    seed: int,
    data: LandedData,
    split: Split,
    config: RecommenderConfig,
    stages: Stages | None,
    arguments: argparse.Namespace,
) -> Run:
    """Fit and evaluate everything with one seed."""
    catalogue = data.catalogue if stages is None else data.catalogue.with_embeddings(stages.served)
    with FitMemory() as memory:

        def on_stage(name: str, seconds: float) -> None:
            memory.end_stage(name)
            say(f"{name}: {seconds:.1f} s")

        fitted = Recommender.fit(split.train, split.validation, catalogue, config, seed=seed, on_stage=on_stage)
    say("weights " + ", ".join(f"{name} {weight:.2f}" for name, weight in fitted.weights.items()))
    alone: dict[str, Retriever] = {}
    for name, vectors in ({} if stages is None else stages.before_finetuning).items():
        alone[name] = ContentRetriever(config.content)
        alone[name].fit(split.train, data.catalogue.with_embeddings(vectors), seed=seed)
    for name in arguments.also if seed == 1 else ():
        begun = time.perf_counter()
        alone[name] = new_retriever(name, config, None)
        alone[name].fit(split.train, catalogue, seed=seed)
        auc = getattr(alone[name], "auc", None)
        told = "" if auc is None else f", AUC {auc:.3f} on interactions that it was not fitted on"
        say(f"{name}: {time.perf_counter() - begun:.1f} s{told}")
    validation = judge_all(fitted, alone, split.validation, split, data, seed, arguments)
    served = fitted
    if arguments.refit:
        served = fitted.refit(split.refit, catalogue, seed=seed)
    test = judge_all(served, alone, split.test, split, data, seed, arguments)
    unmasked = {}
    if arguments.unmasked:
        unmasked = judge_all(served, alone, split.test, split, data, seed, arguments, exclude_seen=False)
    rules = RerankRules(exclude_seen=data.domain.exclude_seen)
    row = content_row(arguments)
    costs = costs_of(fitted, memory.growth_gib, split.test, rules, content_row=row) if seed == 1 else {}
    reports = getattr(fitted.retrievers.get("sequence"), "reports", [])
    curves = {"sequence": [(report.epoch, report.loss) for report in reports]} if reports else {}
    return Run(validation, test, unmasked, fitted.weights, fitted.seconds, costs, curves)


def judge_all(
    recommender: Recommender,
    alone: dict[str, Retriever],
    holdout: Holdout,
    split: Split,
    data: LandedData,
    seed: int,
    arguments: argparse.Namespace,
    *,
    exclude_seen: bool | None = None,
) -> Models:
    """Evaluate the fusion, each retriever alone, and those of `alone`, which take no part in the fusion."""
    is_masked = data.domain.exclude_seen if exclude_seen is None else exclude_seen
    catalogue = recommender.catalogue

    def judged(ranked: IntArray) -> EvaluationResult:
        return evaluate(ranked, holdout, split.train, catalogue, ks=KS, seed=seed, bootstrap=arguments.bootstrap)

    rules = RerankRules(exclude_seen=is_masked)
    results = {FUSION: judged(rank_holdout(recommender, holdout, rules, top_k=max(KS)))}
    for name, retriever in {**recommender.retrievers, **alone}.items():
        ranked = rank_alone(retriever, holdout, catalogue, top_k=max(KS), exclude_seen=is_masked)
        results[content_row(arguments) if name == "content" else name] = judged(ranked)
    return results


def averaged(results: list[EvaluationResult]) -> EvaluationResult:
    """Mean over seeds of each user's values, with intervals over users; effects and slices are the first seed's."""
    if len(results) == 1:
        return results[0]
    per_user = {name: np.mean([result.per_user[name] for result in results], axis=0) for name in results[0].per_user}
    intervals = bootstrap_intervals(np.stack(list(per_user.values()), axis=1), seed=0)
    return replace(results[0], metrics=dict(zip(per_user, intervals, strict=True)), per_user=per_user)


def fusion_against(test: Models) -> dict[str, Comparison]:
    """NDCG@10 of the fusion less that of each other model, over the same users."""
    return {name: compare(test[FUSION], result, seed=0) for name, result in test.items() if name != FUSION}


def summary(
    arguments: argparse.Namespace, data: LandedData, split: Split, runs: list[Run], test: Models
) -> dict[str, Any]:
    """Everything that the results file says of the models."""
    return {
        "dataset": arguments.name or data.domain.name,
        "protocol": arguments.protocol,
        "tie_order": arguments.tie_order,
        "is_refitted": arguments.refit,
        "counts": {
            "users": data.log.user_count,
            "items": data.catalogue.count,
            "interactions": len(data.log.item_rows),
            "test_users": split.test.count,
            "validation_users": split.validation.count,
            "new_users": split.new_users.count,
        },
        "models": {name: plain(result) for name, result in test.items()},
        "fusion_against": {name: asdict(found) for name, found in fusion_against(test).items()},
        "validation": {
            name: {metric: value.value for metric, value in result.metrics.items()}
            for name, result in runs[0].validation.items()
        },
        "unmasked": {name: plain(result)["metrics"] for name, result in runs[0].unmasked.items()},
        "fusion_by_seed": [
            {name: one.test[FUSION].metrics[name].value for name in ("recall@10", "ndcg@10")} for one in runs
        ],
        "weights_by_seed": [one.weights for one in runs],
        "fit_seconds": runs[0].seconds,
        "costs": {name: asdict(cost) for name, cost in runs[0].costs.items()},
        "training_curves": runs[0].curves,
        "seeds": list(range(1, len(runs) + 1)),
    }


def plain(result: EvaluationResult) -> dict[str, Any]:
    """A result with its headline figures on top."""
    values: dict[str, Any] = result.to_dict()
    return {name: interval.value for name, interval in result.metrics.items() if name.endswith("@10")} | values


def write(arguments: argparse.Namespace, data: LandedData, facts: dict[str, Any], *, begun: float) -> Path:
    """Write the results file and return its path."""
    path = RESULTS / dataset_file(arguments, data)
    write_results(path, facts, begun=begun)
    return path


def say(text: str) -> None:
    """Report progress at once, also into a pipe."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
