"""One table that removes one thing at a time from the recommender of a domain, everything else as committed.

A removed retriever costs no training: the fusion is fitted anew for those that stay. A part of the sequence transformer
or a stage of the encoder is removed by training again what reads it. Differences are paired over the same users.

    python benchmarks/ablation.py --data DIR --source amazon-reviews --tie-order position
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from dataset_arguments import add_dataset_arguments, dataset_file, load_dataset
from encoder_vectors import Stages, add_encoder_arguments, train_stages
from even_fusion import evenly_fused
from landed_data import LandedData
from result_tables import table, with_difference
from run_facts import write_results

from models.bootstrap import Comparison, compare_paired
from models.catalogue import Catalogue
from models.holdout_ranking import rank_holdout
from models.metrics import DoubleArray, metrics_per_user
from models.recommender import Recommender
from models.recommender_config import RecommenderConfig, new_retriever
from models.reranking import RerankRules
from models.retriever import Retriever
from models.splitting import Split

RESULTS = Path(__file__).parent / "results" / "ablation"
K = 10
SEQUENCE_PARTS: dict[str, dict[str, Any]] = {
    "sequence: text": {"item_source": "id"},
    "sequence: trained IDs": {"item_source": "text"},
    "sequence: frequency layer": {"frequency_share": 0.0},
    "sequence: cosine logits": {"logits": "dot"},
    "sequence: doubt about the order within a second": {"ties": "ordered"},
    "sequence: averaged weights": {"averaging": 0.0},
    "sequence: start at the components of the text": {"text_initial": False},
}


@dataclass(frozen=True)
class Setting:
    """What all rows share."""

    data: LandedData
    split: Split
    config: RecommenderConfig
    stages: Stages
    seed: int

    def catalogue(self, vectors: np.ndarray) -> Catalogue:
        """Items with these text vectors."""
        return self.data.catalogue.with_embeddings(vectors)

    def retriever(self, name: str, catalogue: Catalogue, config: RecommenderConfig) -> Retriever:
        """A retriever fitted on the training part."""
        made = new_retriever(name, config, None)
        made.fit(self.split.train, catalogue, seed=self.seed)
        return made

    def judged(self, recommender: Recommender) -> dict[str, DoubleArray]:
        """Recall and NDCG of each test user."""
        rules = RerankRules(exclude_seen=self.data.domain.exclude_seen)
        return metrics_per_user(
            rank_holdout(recommender, self.split.test, rules, top_k=K), self.split.test.targets, (K,)
        )


def main() -> None:
    """Fit everything once, then every row; print the table and write the results."""
    arguments = parse()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        data = load_dataset(arguments, Path(folder))
        split = data.split(arguments.protocol)
        config = RecommenderConfig.from_dict({"exclude_seen": data.domain.exclude_seen, **data.domain.recommender})
        stages = train_stages(data, split, arguments, Path(folder))
    setting = Setting(data, split, config, stages, arguments.seed)
    catalogue = setting.catalogue(stages.served)
    whole = Recommender.fit(split.train, split.validation, catalogue, config, seed=arguments.seed)
    everything = setting.judged(whole)
    rows = [row("(nothing)", everything, everything)]
    for removed, recommender in variants(whole, setting):
        rows.append(row(removed, setting.judged(recommender), everything))
        print(line(rows[-1]), flush=True)
    print(table(HEADER, [cells(one) for one in rows], right=(1, 2)))
    facts = {
        "dataset": arguments.name or data.domain.name,
        "protocol": arguments.protocol,
        "tie_order": arguments.tie_order,
        "seed": arguments.seed,
        "users": split.test.count,
        "rows": rows,
        "config": asdict(config),
    }
    path = RESULTS / dataset_file(arguments, data)
    write_results(path, facts, begun=begun)
    print(f"wrote {path.name}")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_dataset_arguments(parser)
    add_encoder_arguments(parser)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def variants(whole: Recommender, setting: Setting) -> Iterator[tuple[str, Recommender]]:
    """What was removed, and the recommender without it."""
    validation, seed, config = setting.split.validation, setting.seed, setting.config
    yield "fusion: fitted weights", evenly_fused(whole)
    for name in whole.retrievers:
        kept = {other: retriever for other, retriever in whole.retrievers.items() if other != name}
        if name != "popularity":  # what new users get; a recommender is never without it
            yield f"retriever: {name}", whole.with_retrievers(kept, validation, seed=seed)
    for removed, change in SEQUENCE_PARTS.items() if "sequence" in whole.retrievers else ():
        changed = replace(config, sequence=replace(config.sequence, **change))
        other = {"sequence": setting.retriever("sequence", whole.catalogue, changed)}
        yield removed, whole.with_retrievers(whole.retrievers | other, validation, seed=seed)
    earlier = {"encoder: fine-tuning": setting.stages.pretrained, "encoder: any training": setting.stages.raw}
    for removed, vectors in earlier.items():
        if vectors is not None:
            yield removed, with_vectors(whole, setting, vectors)


def with_vectors(whole: Recommender, setting: Setting, vectors: np.ndarray) -> Recommender:
    """The recommender with other text vectors, and what reads them trained again."""
    catalogue = setting.catalogue(vectors)
    readers = [name for name in ("content", "sequence", "two_tower", "generative") if name in whole.retrievers]
    others = {name: setting.retriever(name, catalogue, setting.config) for name in readers}
    return whole.with_retrievers(whole.retrievers | others, setting.split.validation, seed=setting.seed)


HEADER = ("removed", "Recall@10", "NDCG@10", "difference in NDCG@10")


def row(removed: str, values: dict[str, DoubleArray], everything: dict[str, DoubleArray]) -> dict[str, Any]:
    """One row: both metrics, and the paired difference to everything."""
    metric = f"ndcg@{K}"
    difference: Comparison = compare_paired(metric, values[metric], everything[metric], seed=0)
    return {
        "removed": removed,
        "recall@10": float(values[f"recall@{K}"].mean()),
        "ndcg@10": float(values[metric].mean()),
        "difference": asdict(difference),
    }


def cells(one: dict[str, Any]) -> list[str]:
    """A row of the table."""
    difference = "" if one["removed"] == "(nothing)" else with_difference(one["difference"])
    return [one["removed"], f"{one['recall@10']:.4f}", f"{one['ndcg@10']:.4f}", difference]


def line(one: dict[str, Any]) -> str:
    """A row as progress."""
    return " | ".join(cells(one))


if __name__ == "__main__":
    main()
