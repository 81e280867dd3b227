"""The FAISS index over the champion's item vectors.

While the champion stays the same, items that are new, changed or gone are added and removed; a new champion has other
vectors, so its index is built anew.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from dagster import AssetKey, MaterializeResult, asset

from assets.builds import Recipe, built_version, data_as_of, last_build, recorded_build
from assets.champion import CHAMPION, load_champion
from assets.lake import Lake
from assets.resources import ArtifactResource, DomainResource, LakeResource
from models.history_frames import to_histories

if TYPE_CHECKING:
    from models.interactions import Histories
    from models.recommender import Recommender
    from models.vector_index import ItemIndex

INDEX = "item_index"
KIND = "index"
RECALL_USERS = 512
"""Users whose vectors the recall of the index is measured with."""

RECIPES = {
    INDEX: Recipe(
        "2", tables=("features.item_embeddings", "marts.items"), builds=(CHAMPION,), exclude=("count_interactions",)
    ),
}


@asset(
    key=INDEX,
    deps=[AssetKey(CHAMPION), AssetKey("item_embeddings"), AssetKey("user_histories")],
    group_name="index",
    kinds={"faiss"},
    owners=["team:ml"],
    code_version="2",
)
def item_index(lake: LakeResource, domain: DomainResource, artifacts: ArtifactResource) -> MaterializeResult[Any]:
    """One index per vector retriever over all items, with its recall against exact search."""
    store = artifacts.store
    with recorded_build(lake.lake, domain.domain, INDEX, RECIPES[INDEX]) as build:
        build.as_of = data_as_of(lake.lake)
        build.snapshot = lake.lake.current_snapshot()
        model_version = built_version(lake.lake, CHAMPION)
        champion = load_champion(lake.lake, store)
        previous = last_build(lake.lake, INDEX)
        updated = updated_index(lake.lake, champion, artifacts, previous.version if previous else "", model_version)
        index = (
            updated.index
            if updated
            else champion.build_index(
                seed=domain.domain.seed,
                histories=_sample(lake.lake, champion),
                model_version=model_version,
                snapshot=build.snapshot,
            )
        )
        if previous and updated and not updated.changes:
            build.version = previous.version
        else:
            index.snapshot = build.snapshot
            with store.scratch() as folder:
                index.save(folder)
                build.version = store.put(folder, KIND)
    return MaterializeResult(
        metadata={
            "version": build.version,
            "items": index.count,
            "is_rebuilt": updated is None,
            "items_changed": updated.changes if updated else index.count,
            "model_version": model_version,
            "snapshot": build.snapshot,
            **{f"recall_{name}": recall for name, recall in index.recalls.items()},
        }
    )


def load_index(artifacts: ArtifactResource, version: str) -> "ItemIndex":
    """The index of one build."""
    from models.vector_index import ItemIndex

    return ItemIndex.load(artifacts.store.path(KIND, version))


@dataclass(frozen=True)
class UpdatedIndex:
    """The previous index, brought up to date."""

    index: "ItemIndex"
    changes: int
    """Items added, replaced or removed."""


def updated_index(
    lake: Lake, champion: "Recommender", artifacts: ArtifactResource, previous: str, model_version: str
) -> UpdatedIndex | None:
    """The previous index with new and changed items added and gone ones removed; None where it cannot be kept.

    An item counts as changed when the text behind its vector did. An index that changes have worn is not kept, nor one
    of an earlier version of the code.
    """
    from models.index_files import is_readable, read_facts
    from models.vector_index import ItemIndex

    if not previous or not (artifacts.store.root / KIND / previous).is_dir():
        return None
    folder = artifacts.store.path(KIND, previous)
    if not is_readable(read_facts(folder)):
        return None
    index = ItemIndex.load(folder)
    vectors = champion.item_vectors()
    if index.model_version != model_version or index.snapshot is None or index.names != sorted(vectors):
        return None
    sql = "SELECT item_id, text_hash FROM features.item_embeddings"
    before = lake.frame(sql, snapshot=index.snapshot).set_index("item_id")["text_hash"]
    now = lake.frame(sql).set_index("item_id")["text_hash"]
    catalogue_ids = champion.catalogue.item_ids
    gone = sorted(set(before.index) - set(catalogue_ids))
    index.remove(gone)
    is_same = np.array([now.get(item) == before.get(item, "") for item in catalogue_ids], dtype=bool)
    changed = np.flatnonzero(~is_same)
    index.add(catalogue_ids[changed], {name: rows[changed] for name, rows in vectors.items()})
    if index.is_worn(vectors):
        return None
    return UpdatedIndex(index, len(gone) + len(changed))


def _sample(lake: Lake, champion: "Recommender") -> "Histories":
    frame = lake.frame("FROM features.user_histories ORDER BY user_id LIMIT ?", [RECALL_USERS])
    return to_histories(frame, champion.catalogue)
