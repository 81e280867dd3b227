"""Features from the marts: texts of items, histories of users, training interactions split by time.

Each asset replaces its table as a whole, in one transaction; none is partitioned.
"""

from typing import Any

import pandas as pd
from dagster import AssetKey, MaterializeResult, asset

from assets.builds import Recipe, data_as_of, recorded_build
from assets.lake import Lake
from assets.resources import DomainResource, LakeResource
from assets.warehouse_sql import HISTORY_ROWS
from models.schema import ITEM_TEXTS, TRAINING_INTERACTIONS, USER_HISTORIES

HISTORY_LENGTH = 5_000
"""Most interactions of a user that are kept; an item counts as seen only while it is among them."""

RECIPES = {
    "item_texts": Recipe("1", tables=("marts.items",), exclude=("first_event_at", "count_interactions", "updated_at")),
    "training_interactions": Recipe(
        "1", tables=("marts.interactions",), domain_keys=("validation_share", "test_share")
    ),
    "user_histories": Recipe("2", tables=("marts.interactions", "marts.hides", "marts.users")),
}
"""What each feature table is made of."""

_INTERACTIONS = "SELECT event_id, user_id, item_id, event_at, weight, source_order FROM marts.interactions"
_HISTORY_ROWS = f"SELECT * EXCLUDE (event_day) FROM ({HISTORY_ROWS})"


@asset(deps=[AssetKey("items")], group_name="features", kinds={"ducklake"}, owners=["team:data"], code_version="1")
def item_texts(lake: LakeResource, domain: DomainResource) -> MaterializeResult[Any]:
    """One row per item: the text that the encoder reads."""
    from models.item_text import render_item_text, text_hashes

    with recorded_build(lake.lake, domain.domain, "item_texts", RECIPES["item_texts"]) as build:
        items = lake.lake.frame("SELECT * FROM marts.items ORDER BY item_id")
        texts = render_item_text(items)
        frame = pd.DataFrame({"item_id": items["item_id"], "text": texts, "text_hash": text_hashes(texts)})
        build.snapshot = lake.lake.replace_table(ITEM_TEXTS, frame)
    preview = frame[["item_id", "text"]].head(5).to_markdown(index=False) if len(frame) else "no items"
    return MaterializeResult(
        metadata={
            "rows": len(frame),
            "without_text": int((frame["text"] == "").sum()),
            "snapshot": build.snapshot,
            "preview": preview,
        }
    )


@asset(
    deps=[AssetKey("interactions")], group_name="features", kinds={"ducklake"}, owners=["team:data"], code_version="1"
)
def training_interactions(lake: LakeResource, domain: DomainResource) -> MaterializeResult[Any]:
    """One row per interaction, in order within the user, with the split by time that it belongs to."""
    from models import features

    chosen = domain.domain
    with recorded_build(lake.lake, chosen, "training_interactions", RECIPES["training_interactions"]) as build:
        interactions = lake.lake.frame(_INTERACTIONS)
        times = features.split_times(
            interactions, validation_share=chosen.validation_share, test_share=chosen.test_share
        )
        frame = features.training_interactions(interactions, times)
        build.as_of = data_as_of(lake.lake)
        build.snapshot = lake.lake.replace_table(TRAINING_INTERACTIONS, frame)
    return MaterializeResult(
        metadata={
            "rows": len(frame),
            "validation_from": times.validation_from.isoformat(),
            "test_from": times.test_from.isoformat(),
            "rows_by_split": frame["split"].value_counts().to_dict(),
            "snapshot": build.snapshot,
        }
    )


@asset(
    deps=[AssetKey("interactions"), AssetKey("hides"), AssetKey("users")],
    group_name="features",
    kinds={"ducklake"},
    owners=["team:data"],
    code_version="2",
)
def user_histories(lake: LakeResource, domain: DomainResource) -> MaterializeResult[Any]:
    """One row per user with interactions or hidden items: the latest of them as lists, oldest first."""
    with recorded_build(lake.lake, domain.domain, "user_histories", RECIPES["user_histories"]) as build:
        frame = histories_of(lake.lake)
        build.as_of = data_as_of(lake.lake)
        build.snapshot = lake.lake.replace_table(USER_HISTORIES, frame)
    lengths = frame["item_ids"].map(len)
    return MaterializeResult(
        metadata={"rows": len(frame), "median_length": float(lengths.median()), "snapshot": build.snapshot}
    )


def histories_of(lake: Lake, user_ids: list[str] | None = None) -> pd.DataFrame:
    """Histories from the marts, of all users or of some; batch and nearline both call this.

    Returns:
        Frame with the columns of `features.user_histories`.
    """
    from models import features

    where, parameters = ("", []) if user_ids is None else ("WHERE user_id IN (SELECT unnest(?))", [user_ids])
    interactions = lake.frame(f"{_HISTORY_ROWS} {where}", parameters)
    ordered = features.in_order(interactions)
    users = lake.frame(f"SELECT user_id, segment FROM marts.users {where}", parameters)
    return features.user_histories(ordered, users.set_index("user_id")["segment"], length=HISTORY_LENGTH)
