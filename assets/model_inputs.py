"""From tables to arrays: the catalogue, the interaction log and the rules that models read."""

from collections.abc import Collection
from datetime import datetime

import numpy as np
import pandas as pd

from assets.domain import Domain
from assets.lake import Lake
from models.catalogue import Catalogue
from models.interactions import FloatArray, InteractionLog, LongArray
from models.reranking import RerankRules, item_rules_from_frame


def read_catalogue(lake: Lake, *, with_embeddings: bool = True, snapshot: int | None = None) -> Catalogue:
    """All items of the marts, with their text vectors where they have one.

    Args:
        lake: Where they are.
        with_embeddings: Whether to read the vectors; without any vector in the lake there are none either.
        snapshot: Read the lake as it was then.

    Raises:
        DataError: there are no items.
    """
    items = lake.frame(
        "SELECT item_id, title, category, brand_or_author, price, available_from, available_until "
        "FROM marts.items ORDER BY item_id",
        snapshot=snapshot,
    )
    catalogue = Catalogue.from_frame(items)
    if not with_embeddings:
        return catalogue
    vectors = lake.frame("SELECT item_id, embedding FROM features.item_embeddings", snapshot=snapshot)
    return catalogue if vectors.empty else catalogue.with_embeddings(aligned(vectors, catalogue))


def aligned(vectors: pd.DataFrame, catalogue: Catalogue) -> FloatArray:
    """Vectors in the order of the catalogue, a zero row for an item without one.

    Args:
        vectors: Frame with `item_id, embedding`, not empty.
        catalogue: The order wanted.

    Returns:
        Shape (items, dimension).
    """
    stacked = np.stack([np.asarray(vector, dtype=np.float32) for vector in vectors["embedding"]])
    rows = pd.Index(vectors["item_id"]).get_indexer(pd.Index(catalogue.item_ids))
    return np.where((rows >= 0)[:, None], stacked[np.maximum(rows, 0)], np.float32(0))


def read_segments(lake: Lake, *, snapshot: int | None = None) -> dict[str, str]:
    """Segment by user id, for users that have one, now or in a snapshot."""
    users = lake.frame("SELECT user_id, segment FROM marts.users WHERE segment IS NOT NULL", snapshot=snapshot)
    return dict(zip(users["user_id"], users["segment"], strict=True))


def read_log(
    lake: Lake, catalogue: Catalogue, *, splits: Collection[str] = (), snapshot: int | None = None
) -> InteractionLog:
    """The interactions of `features.training_interactions` over a catalogue.

    Args:
        lake: Where they are.
        catalogue: Interactions with other items are left out.
        splits: Only these of train, validation and test; all when empty.
        snapshot: Read the lake as it was then.
    """
    chosen = ", ".join(f"'{split}'" for split in sorted(splits))
    where = f"WHERE split IN ({chosen})" if splits else ""
    frame = lake.frame(
        f"SELECT user_id, item_id, event_at, weight, position FROM features.training_interactions {where}",
        snapshot=snapshot,
    )
    return InteractionLog.from_frame(frame, catalogue.item_ids, read_segments(lake, snapshot=snapshot))


def read_event_types(lake: Lake, catalogue: Catalogue, *, splits: Collection[str]) -> LongArray:
    """Code of the event type of each interaction, in the order of `read_log` with the same arguments.

    Args:
        lake: Where they are.
        catalogue: Interactions with other items are left out.
        splits: Only these of train, validation and test.
    """
    chosen = ", ".join(f"'{split}'" for split in sorted(splits))
    frame = lake.frame(
        "SELECT t.user_id, t.item_id, t.event_at, t.position, coalesce(i.event_type, '') AS event_type "
        "FROM features.training_interactions AS t LEFT JOIN marts.interactions AS i USING (event_id) "
        f"WHERE t.split IN ({chosen})"
    )
    codes = np.unique(frame["event_type"].to_numpy(dtype=str), return_inverse=True)[1]
    # A log of its own, whose weights are the codes, is sorted by the one rule there is.
    return InteractionLog.from_frame(frame.assign(weight=codes), catalogue.item_ids).weights.astype(np.int64)


RERANK_KEYS = (
    "exclude_seen",
    "max_per_category",
    "max_per_brand",
    "cold_share",
    "cold_places",
    "diversity",
    "diversity_weight",
)
"""Settings of a domain that the rules of the lists are made of, for the evaluation and for what is served."""


def rerank_rules(lake: Lake, domain: Domain) -> RerankRules:
    """The domain's rules together with the business rules of its surface."""
    return RerankRules(
        exclude_seen=domain.exclude_seen,
        max_per_category=domain.max_per_category,
        max_per_brand=domain.max_per_brand,
        cold_share=domain.cold_share,
        cold_places=tuple(domain.cold_places),
        diversity=domain.diversity,
        diversity_weight=domain.diversity_weight,
        explore_share=domain.explore_share,
        item_rules=item_rules_from_frame(lake.frame("FROM serving.item_rules"), surface=domain.surface),
    )


def seconds(moment: datetime) -> int:
    """A UTC time without a zone as seconds since 1970."""
    return int((moment - datetime(1970, 1, 1)).total_seconds())
