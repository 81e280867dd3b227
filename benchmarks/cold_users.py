"""Accuracy over the number of known events: test users as if only their last 0, 1, 2, 3, 5 or 10 were known.

Everybody's test items stay the same; only what is known of the users differs. With no event, a user with attributes
gets the popularity of the segment.

    python benchmarks/cold_users.py --data DIR --source movielens --retrievers popularity co_occurrence ease
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from dataset_arguments import add_dataset_arguments, load_dataset
from landed_data import LandedData
from run_facts import write_results

from models.bootstrap import bootstrap_intervals
from models.metrics import metrics_per_user
from models.pipeline import rank_users
from models.ranking_sample import moment_of
from models.recommender import Recommender
from models.recommender_config import RecommenderConfig
from models.reranking import RerankRules
from models.splitting import Split

RESULTS = Path(__file__).parent / "results" / "cold_users"
KNOWN = (0, 1, 2, 3, 5, 10)
K = 10
WITHOUT_TEXT = ("popularity", "co_occurrence", "als", "ease")


def main() -> None:
    """Fit once, rank with ever more known, print the curve and write it."""
    arguments, begun = parse(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        data = load_dataset(arguments, Path(folder))
        rows = curve(data, data.split(arguments.protocol), tuple(arguments.retrievers), arguments.users)
    name = arguments.name or data.domain.name
    path = RESULTS / f"{name}.json"
    write_results(path, {"dataset": name, "rows": rows}, begun=begun)
    plot(rows, path.with_suffix(".png"))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_dataset_arguments(parser)
    parser.add_argument("--retrievers", nargs="*", default=WITHOUT_TEXT)
    parser.add_argument("--users", type=int, default=2_000, help="most users")
    return parser.parse_args()


def curve(data: LandedData, split: Split, retrievers: tuple[str, ...], most: int) -> list[dict[str, float]]:
    """One row for each number of known events, over the users who have at least the largest number."""
    config = RecommenderConfig.from_dict({"exclude_seen": data.domain.exclude_seen, **data.domain.recommender})
    made = Recommender.fit(
        split.train, split.validation, data.catalogue, replace(config, retrievers=retrievers), seed=data.domain.seed
    )
    lengths = np.diff(split.test.history.start)[split.test.user_rows]
    users = np.flatnonzero(lengths >= max(KNOWN))[:most]
    test = split.test.select(users)
    # The whole history says what counts as seen in the targets; the lists know its last events only.
    whole = test.histories(length=max(KNOWN))
    rows: list[dict[str, float]] = []
    for known in KNOWN:
        if known:
            histories = whole.last(known)
        else:
            histories = replace(
                whole.last(1),
                items=np.full((whole.count, 1), -1, np.int32),
                weights=np.zeros((whole.count, 1), np.float32),
                event_ats=np.zeros((whole.count, 1), np.int64),
            )
        rules = RerankRules(exclude_seen=data.domain.exclude_seen)
        ranked = rank_users(made, None, histories, rules, top_k=K, as_of=moment_of(test)).items
        ndcg = metrics_per_user(ranked, test.targets, (K,))[f"ndcg@{K}"]
        interval = bootstrap_intervals(ndcg[:, None], seed=0)[0]
        rows.append(
            {"known": known, "users": test.count, "ndcg@10": interval.value, "low": interval.low, "high": interval.high}
        )
        print(f"{known} known: ndcg@{K} {interval.value:.4f} [{interval.low:.4f}, {interval.high:.4f}]", flush=True)
    return rows


def plot(rows: list[dict[str, float]], path: Path) -> None:
    """NDCG over the number of known events, with intervals."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    values = np.array([[row["ndcg@10"], row["low"], row["high"]] for row in rows])
    known = [row["known"] for row in rows]
    axes.errorbar(known, values[:, 0], yerr=np.abs(values[:, 1:] - values[:, :1]).T, marker="o", capsize=3)
    axes.set(xlabel="known events of a user", ylabel="NDCG@10", ylim=(0, None))
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
