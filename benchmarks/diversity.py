"""Accuracy over diversity: what each way of making lists more varied costs, on the test window of a home.

python benchmarks/diversity.py --home .freshet
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from run_facts import write_results

from assets.artifacts import ArtifactStore
from assets.builds import built_version
from assets.domain import load_domain
from assets.model_inputs import read_catalogue
from assets.recommender import CHALLENGER, EVALUATED, KIND, split_of
from models.beyond_accuracy import catalogue_effects
from models.diversification import DIVERSITIES
from models.holdout_ranking import rank_holdout
from models.metrics import metrics_per_user
from models.recommender import Recommender
from models.reranking import RerankRules
from models.splitting import Holdout
from orchestration.home import open_lake
from orchestration.settings import load_settings

RESULTS = Path(__file__).parent / "results" / "diversity"
WEIGHTS = (0.1, 0.3, 0.5, 0.7, 0.9)
K = 10


def main() -> None:
    """Measure every method and weight, print the table, write numbers and the curve."""
    arguments = parse()
    begun = time.perf_counter()
    settings = load_settings(home=arguments.home)
    lake, domain = open_lake(settings), load_domain(settings.domain)
    catalogue = read_catalogue(lake)
    split = split_of(lake, catalogue, exclude_seen=domain.exclude_seen)
    folder = ArtifactStore(settings.artifacts_path).path(KIND, built_version(lake, CHALLENGER)) / EVALUATED
    recommender = Recommender.load(folder)
    recommender.refresh(catalogue, split.test.history)
    test = sampled(split.test, arguments.users)
    rows = []
    for rules in variants(RerankRules(exclude_seen=domain.exclude_seen)):
        ranked = rank_holdout(recommender, test, rules, top_k=K)
        ndcg = float(metrics_per_user(ranked, test.targets, (K,))[f"ndcg@{K}"].mean())
        effects = catalogue_effects(ranked, test.history, catalogue.categories, catalogue.embeddings, (K,))
        row = {
            "method": rules.diversity,
            "weight": rules.diversity_weight,
            "ndcg@10": round(ndcg, 4),
            "diversity@10": round(effects[f"diversity@{K}"], 4),
            "coverage@10": round(effects[f"coverage@{K}"], 4),
        }
        rows.append(row)
        print(" ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    facts = {"domain": domain.name, "users": test.count, "rows": rows}
    write_results(RESULTS / f"{domain.name}.json", facts, begun=begun)
    plot(rows, RESULTS / f"{domain.name}.png")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="a Freshet home with a trained recommender")
    parser.add_argument("--users", type=int, default=2_000, help="most users of the test window")
    return parser.parse_args()


def sampled(holdout: Holdout, count: int) -> Holdout:
    """At most `count` users, drawn with a fixed seed."""
    if holdout.count <= count:
        return holdout
    users = np.sort(np.random.default_rng(0).choice(holdout.count, count, replace=False))
    return holdout.select(users)


def variants(plain: RerankRules) -> Iterator[RerankRules]:
    """The plain lists, then every method with every weight."""
    yield plain
    for method in DIVERSITIES[1:]:
        for weight in WEIGHTS:
            yield replace(plain, diversity=method, diversity_weight=weight)


def plot(rows: Sequence[Mapping[str, object]], path: Path) -> None:
    """NDCG over diversity, one line for each method."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for method in DIVERSITIES[1:]:
        own = [row for row in rows if row["method"] in ("none", method)]
        axes.plot([row["diversity@10"] for row in own], [row["ndcg@10"] for row in own], marker="o", label=method)
    axes.set(xlabel="diversity@10 (1 - mean cosine of texts)", ylabel="NDCG@10")
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
