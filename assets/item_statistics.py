"""Statistics of items that lists are counted from each day: recent popularity by segment, and co-occurrence.

The champion counts the same with the same code when it serves; these tables are for people and other systems, such as
a popular list for a user whom nobody knows.
"""

from typing import Any

import numpy as np
import pandas as pd
from dagster import AssetKey, MaterializeResult, asset

from assets.builds import Recipe, data_as_of, recorded_build
from assets.model_inputs import read_catalogue, read_log
from assets.resources import DomainResource, LakeResource
from models.schema import ITEM_COOCCURRENCE, ITEM_POPULARITY

POPULARITY, COOCCURRENCE = "item_popularity", "item_cooccurrence"

RECIPES = {
    name: Recipe("1", tables=("features.training_interactions", "marts.users"), domain_keys=("recommender",))
    for name in (POPULARITY, COOCCURRENCE)
}

_DEPS = [AssetKey("training_interactions"), AssetKey("items"), AssetKey("users")]


@asset(key=POPULARITY, deps=_DEPS, group_name="features", kinds={"ducklake"}, owners=["team:data"], code_version="1")
def item_popularity(lake: LakeResource, domain: DomainResource) -> MaterializeResult[Any]:
    """One row per item and segment: the decayed sum of weights, scaled to 1; the empty segment is everyone."""
    from models.popularity import PopularityRetriever
    from models.recommender_config import RecommenderConfig

    with recorded_build(lake.lake, domain.domain, POPULARITY, RECIPES[POPULARITY]) as build:
        build.as_of = data_as_of(lake.lake)
        catalogue = read_catalogue(lake.lake, with_embeddings=False)
        retriever = PopularityRetriever(RecommenderConfig.from_dict(domain.domain.recommender).popularity)
        retriever.fit(read_log(lake.lake, catalogue), catalogue)
        segments, scores = retriever.table()
        rows, columns = np.nonzero(scores)
        frame = pd.DataFrame(
            {
                "segment": np.array(segments, dtype=object)[rows],
                "item_id": catalogue.item_ids[columns],
                "score": scores[rows, columns].astype(np.float64),
            }
        )
        build.snapshot = lake.lake.replace_table(ITEM_POPULARITY, frame)
    return MaterializeResult(metadata={"rows": len(frame), "segments": len(segments), "snapshot": build.snapshot})


@asset(key=COOCCURRENCE, deps=_DEPS, group_name="features", kinds={"ducklake"}, owners=["team:data"], code_version="1")
def item_cooccurrence(lake: LakeResource, domain: DomainResource) -> MaterializeResult[Any]:
    """One row per item and neighbour: the cosine of the two items over users."""
    from models.co_occurrence import CoOccurrenceRetriever
    from models.recommender_config import RecommenderConfig

    with recorded_build(lake.lake, domain.domain, COOCCURRENCE, RECIPES[COOCCURRENCE]) as build:
        build.as_of = data_as_of(lake.lake)
        catalogue = read_catalogue(lake.lake, with_embeddings=False)
        retriever = CoOccurrenceRetriever(RecommenderConfig.from_dict(domain.domain.recommender).co_occurrence)
        retriever.fit(read_log(lake.lake, catalogue), catalogue)
        pairs = retriever.neighbours().tocoo()
        frame = pd.DataFrame(
            {
                "item_id": catalogue.item_ids[pairs.row],
                "neighbour_id": catalogue.item_ids[pairs.col],
                "score": pairs.data.astype(np.float64),
            }
        )
        build.snapshot = lake.lake.replace_table(ITEM_COOCCURRENCE, frame)
    return MaterializeResult(metadata={"rows": len(frame), "snapshot": build.snapshot})
