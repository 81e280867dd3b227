"""Every way to make one list of what the retrievers of a domain say, on retrievers that are fitted once.

Each method is fitted on validation users and judged on the test. The first column is what `method = "auto"` goes by:
NDCG@10 on validation users that the method was not fitted on. Differences are to the weighted sum, over the same users.

    python benchmarks/fusion_methods.py --data DIR --source amazon-reviews --tie-order position
"""

import argparse
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dataset_arguments import add_dataset_arguments, dataset_file, load_dataset
from encoder_vectors import add_encoder_arguments, train_stages
from even_fusion import evenly_fused
from landed_data import LandedData
from result_tables import table, with_difference, with_interval
from run_facts import write_results

from models.evaluation import EvaluationResult, compare, evaluate
from models.fusion_config import METHODS
from models.fusion_fitting import cross_fitted
from models.holdout_ranking import rank_holdout
from models.recommender import Recommender
from models.recommender_config import RecommenderConfig
from models.reranking import RerankRules
from models.splitting import Split

RESULTS = Path(__file__).parent / "results" / "fusion_methods"
K = 10
EVEN, WEIGHTED = "even", "weighted"
WORDS = {
    EVEN: "all alike",
    "weighted": "weighted sum",
    "rrf": "reciprocal ranks",
    "stacked": "stacked (conditional logit)",
    "lambdarank": "LambdaRank on the best of the weighted sum",
}


def main() -> None:
    """Fit the retrievers, then every method; print the table and write the results."""
    arguments = parse()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        data = load_dataset(arguments, Path(folder))
        split = data.split(arguments.protocol)
        config = RecommenderConfig.from_dict({"exclude_seen": data.domain.exclude_seen, **data.domain.recommender})
        config = replace(config, fusion=replace(config.fusion, method=WEIGHTED))
        vectors = train_stages(data, split, arguments, Path(folder)).served
    catalogue = data.catalogue.with_embeddings(vectors)
    fitted = Recommender.fit(split.train, split.validation, catalogue, config, seed=arguments.seed)
    facts = measure(fitted, split, data, seed=arguments.seed) | {
        "dataset": dataset_file(arguments, data, ""),
        "seed": arguments.seed,
        "users": split.test.count,
        "config": asdict(config),
    }
    print(methods_table(facts))
    path = RESULTS / dataset_file(arguments, data)
    write_results(path, facts, begun=begun)
    print(f"wrote {path}")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_dataset_arguments(parser)
    add_encoder_arguments(parser)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def measure(fitted: Recommender, split: Split, data: LandedData, *, seed: int) -> dict[str, Any]:
    """Figures of every method on the test, and what each got on validation users it was not fitted on.

    Args:
        fitted: With a weighted fusion.
        split: Whose validation and test users are asked.
        data: The dataset.
        seed: Of the folds and of each method.
    """
    rules = RerankRules(exclude_seen=data.domain.exclude_seen)
    sample = fitted.ranking_sample(split.validation, seed=seed)
    validation = cross_fitted(sample, fitted.config.fusion, seed=seed)
    judged: dict[str, EvaluationResult] = {}
    rows: dict[str, dict[str, Any]] = {}
    for method in (WEIGHTED, EVEN, *(other for other in METHODS if other != WEIGHTED)):
        begun = time.perf_counter()
        fused = fused_by(method, fitted, split, seed=seed)
        fit_seconds, begun = time.perf_counter() - begun, time.perf_counter()
        ranked = rank_holdout(fused, split.test, rules, top_k=K)
        milliseconds = 1_000 * (time.perf_counter() - begun) / max(split.test.count, 1)
        judged[method] = evaluate(ranked, split.test, split.train, fitted.catalogue, ks=(K,), seed=seed)
        rows[method] = {
            "validation_ndcg@10": float(validation[method].mean()) if method in validation else None,
            **{metric: asdict(judged[method].metrics[metric]) for metric in ("recall@10", "ndcg@10")},
            "against_weighted": None
            if method == WEIGHTED
            else asdict(compare(judged[method], judged[WEIGHTED], seed=0)),
            "fit_seconds": round(fit_seconds, 1),
            "ms_per_user": round(milliseconds, 2),
        }
        print(methods_table({"rows": {method: rows[method]}}).splitlines()[-1], flush=True)
    return {"rows": rows}


def fused_by(method: str, fitted: Recommender, split: Split, *, seed: int) -> Recommender:
    """The same retrievers with a fusion of this method, fitted on the validation users."""
    if method == EVEN:
        return evenly_fused(fitted)
    fusion = replace(fitted.config.fusion, method=method)
    return fitted.with_retrievers(fitted.retrievers, split.validation, seed=seed, fusion=fusion)


def methods_table(facts: dict[str, Any]) -> str:
    """One line per method, in Markdown."""
    header = ("Method", "Validation NDCG@10", "Recall@10", "NDCG@10", "Against the weighted sum", "ms a user")
    lines = []
    for method, row in facts["rows"].items():
        validation, against = row["validation_ndcg@10"], row["against_weighted"]
        lines.append(
            [
                WORDS[method],
                "" if validation is None else f"{validation:.4f}",
                f"{row['recall@10']['value']:.4f}",
                with_interval(row["ndcg@10"]),
                "" if against is None else with_difference(against),
                f"{row['ms_per_user']:.2f}",
            ]
        )
    return table(header, lines, right=(1, 2, 5))


if __name__ == "__main__":
    main()
