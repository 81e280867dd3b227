"""LensKit: ItemKNN and ALS for implicit feedback, and its metrics."""

import logging
import warnings
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import pandas as pd
from lenskit import recommend
from lenskit.als import ImplicitMFScorer
from lenskit.data import ItemList, RecQuery, from_interactions_df
from lenskit.knn import ItemKNNScorer
from lenskit.metrics import NDCG, Hit, Recall, RecipRank
from lenskit.metrics.ranking import LogRankWeight
from lenskit.pipeline import topn_pipeline
from protocol import TOP_K, Data, Fitted, main

logging.disable(logging.INFO)
warnings.filterwarnings("ignore")


def fit(scorer: object, data: Data) -> Callable[[str], np.ndarray]:
    """A pipeline over the scorer, trained; part to lists."""
    frame = data.train.rename(columns={"user": "user_id", "item": "item_id"})[["user_id", "item_id"]]
    pipeline = topn_pipeline(scorer, n=TOP_K)
    pipeline.train(from_interactions_df(frame))
    # Items that only a history holds cannot be scored, and the library knows no id that it was not trained on.
    trained = set(frame["item_id"])

    def lists(part: str) -> np.ndarray:
        users = data.users(part)
        known = data.history[part].sort_values(["user", "place"]).groupby("user")["item"].agg(list)
        result = np.full((len(users), TOP_K), -1, dtype=np.int32)
        for row, user in enumerate(users):
            history = ItemList([item for item in known[user] if item in trained])
            query = RecQuery(user_id=int(user), history_items=history)
            found = recommend(pipeline, query, n=TOP_K).ids()
            result[row, : len(found)] = found
        return result

    return lists


def item_knn(data: Data, seconds: float) -> Fitted:
    """Item neighbours with the library's defaults for implicit feedback."""
    settings = {"max_nbrs": 20, "feedback": "implicit"}
    return Fitted(fit(ItemKNNScorer(**settings), data), settings)


def als(data: Data, seconds: float) -> Fitted:
    """Implicit ALS with the library's defaults, but 64 dimensions."""
    settings = {"embedding_size": 64, "epochs": 10, "regularization": 0.1, "weight": 40}
    return Fitted(fit(ImplicitMFScorer(**settings), data), settings)


def check(lists: np.ndarray, targets: pd.DataFrame, k: int) -> dict[str, float]:
    """Means of the library's metrics; its discount starts at rank 2 unless it is shifted by one."""
    wanted = targets.groupby("user")["item"].agg(list)
    metrics = {
        "recall": Recall(n=k),
        "ndcg": NDCG(n=k, weight=LogRankWeight(offset=1)),
        "mrr": RecipRank(n=k),
        "hit_rate": Hit(n=k),
    }
    values: dict[str, list[float]] = {name: [] for name in metrics}
    for row, user in enumerate(wanted.index):
        ranked = ItemList(lists[row][lists[row] >= 0], ordered=True)
        truth = ItemList(wanted[user])
        for name, metric in metrics.items():
            values[name].append(metric.measure_list(ranked, truth))
    return {f"{name}@{k}": float(np.mean(found)) for name, found in values.items()}


if __name__ == "__main__":
    main({"ItemKNN": item_knn, "ALS": als}, check, version("lenskit"))
