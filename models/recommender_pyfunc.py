"""The recommender as an MLflow pyfunc model: histories in, lists out, for trying a version by hand.

Serving does not come through here; it reads the precomputed lists.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pandas as pd

from models.catalogue import ALWAYS
from models.interactions import PADDING, Histories
from models.pipeline import recommend
from models.recommender import Recommender
from models.reranking import RerankRules

PRODUCTION = "production"
LIST_LENGTH = 10


class RecommenderModel:
    """Answers histories with lists."""

    def __init__(self, recommender: Recommender) -> None:
        # Versions are tried by hand at any time, so availability does not count here.
        count = recommender.catalogue.count
        recommender.catalogue = replace(
            recommender.catalogue,
            available_from=np.full(count, -ALWAYS, dtype=np.int64),
            available_until=np.full(count, ALWAYS, dtype=np.int64),
        )
        self._recommender = recommender

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Lists for histories.

        Args:
            frame: Column `history`: item ids as a JSON list, latest last. Unknown ids are left out.

        Returns:
            Frame `row` (of the input), `rank, item_id, score`.
        """
        rows = pd.Index(self._recommender.catalogue.item_ids)
        known = [
            [row for row in rows.get_indexer(pd.Index(orjson.loads(text), dtype=object)).tolist() if row >= 0]
            for text in frame["history"]
        ]
        width = max([len(items) for items in known] + [1])
        padded = np.array([[PADDING] * (width - len(items)) + items for items in known], dtype=np.int32)
        histories = Histories(
            items=padded,
            weights=(padded != PADDING).astype(np.float32),
            event_ats=np.zeros(padded.shape, dtype=np.int64),
            segments=np.full(len(padded), "", dtype=object),
        )
        users = np.array([str(row) for row in range(len(padded))], dtype=object)
        lists = recommend(self._recommender, None, histories, users, RerankRules(), top_k=LIST_LENGTH, as_of=0)
        return lists.assign(row=lists["user_id"].astype("int64"))[["row", "rank", "item_id", "score"]]


def _load_pyfunc(path: str) -> RecommenderModel:
    """Load for MLflow, which calls this by name."""
    return RecommenderModel(Recommender.load(Path(path) / PRODUCTION))
