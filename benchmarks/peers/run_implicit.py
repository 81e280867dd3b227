"""implicit: ALS and ItemKNN, and its metrics."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Protocol

import numpy as np
import pandas as pd
from implicit.als import AlternatingLeastSquares
from implicit.evaluation import ranking_metrics_at_k
from implicit.nearest_neighbours import CosineRecommender
from protocol import TOP_K, Data, Fitted, main
from scipy import sparse


class Ranker(Protocol):
    """What the models of the library have in common."""

    def recommend(
        self,
        userid: np.ndarray,
        user_items: sparse.csr_matrix,
        N: int,
        filter_already_liked_items: bool,
        **options: object,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lists and scores."""
        ...


def matrix(steps: pd.DataFrame, data: Data) -> sparse.csr_matrix:
    """Users by items, ones."""
    ones = np.ones(len(steps), dtype=np.float32)
    return sparse.csr_matrix((ones, (steps["user"], steps["item"])), shape=(data.user_count, data.item_count))


def recommender(model: Ranker, data: Data, **options: object) -> Callable[[str], np.ndarray]:
    """Part to lists of a fitted model."""

    def lists(part: str) -> np.ndarray:
        users = data.users(part)
        known = matrix(data.history[part], data)[users]
        items, scores = model.recommend(users, known, N=TOP_K, filter_already_liked_items=True, **options)
        # Where candidates run out, places are filled with seen items or repeats at the lowest score.
        owner, item = known.nonzero()
        codes = np.arange(len(users))[:, None] * data.item_count + items
        is_new = ~np.isin(codes, owner.astype(np.int64) * data.item_count + item)
        is_real = (items >= 0) & (scores > np.finfo(np.float32).min) & is_new & _is_first(items)
        return np.where(is_real, items, -1).astype(np.int32)

    return lists


def als(data: Data, seconds: float) -> Fitted:
    """ALS with the library's defaults, but 64 factors."""
    settings = {"factors": 64, "regularization": 0.01, "alpha": 1.0, "iterations": 15}
    model = AlternatingLeastSquares(**settings, random_state=1)
    model.fit(matrix(data.train, data), show_progress=False)
    return Fitted(recommender(model, data, recalculate_user=True), settings)


def item_knn(data: Data, seconds: float) -> Fitted:
    """Cosine neighbours of items, with more of them than the default of 20."""
    model = CosineRecommender(K=100)
    model.fit(matrix(data.train, data), show_progress=False)
    return Fitted(recommender(model, data), {"K": 100, "similarity": "cosine"})


class Replay:
    """Answers with lists that were made before: what the library's evaluation takes in place of a model."""

    def __init__(self, lists: np.ndarray, row_of_user: np.ndarray) -> None:
        self._lists, self._row_of_user = lists, row_of_user

    def recommend(self, userid: np.ndarray, user_items: object, N: int, **_: object) -> tuple[np.ndarray, np.ndarray]:
        """Lists of the users asked for."""
        rows = self._lists[self._row_of_user[userid], :N]
        return rows, np.zeros(rows.shape, dtype=np.float32)


def check(lists: np.ndarray, targets: pd.DataFrame, k: int) -> dict[str, float]:
    """Means of the library's metrics; with one target a user its precision is recall."""
    users = np.unique(targets["user"])
    shape = (int(users.max()) + 1, int(max(lists.max(), targets["item"].max())) + 1)
    wanted = sparse.csr_matrix((np.ones(len(targets), np.float32), (targets["user"], targets["item"])), shape=shape)
    row_of_user = np.zeros(shape[0], dtype=np.int64)
    row_of_user[users] = np.arange(len(users))
    found = ranking_metrics_at_k(
        Replay(lists, row_of_user), sparse.csr_matrix(shape, dtype=np.float32), wanted, K=k, show_progress=False
    )
    metrics = {f"ndcg@{k}": float(found["ndcg"])}
    if len(targets) == len(users):
        metrics |= {f"recall@{k}": float(found["precision"]), f"map@{k}": float(found["map"])}
    return metrics


def _is_first(items: np.ndarray) -> np.ndarray:
    """Whether an item does not stand further ahead in its list."""
    order = np.argsort(items, axis=1, kind="stable")
    ordered = np.take_along_axis(items, order, axis=1)
    is_new = np.ones(items.shape, dtype=bool)
    is_new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    result = np.empty_like(is_new)
    np.put_along_axis(result, order, is_new, axis=1)
    return result


if __name__ == "__main__":
    main({"ALS": als, "ItemKNN": item_knn}, check, version("implicit"))
