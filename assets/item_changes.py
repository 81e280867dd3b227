"""Items that changed since the warehouse built them: from their raw rows to catalogue, vectors and index of a server.

They pass the warehouse's own SQL, the encoder that made the vectors of the catalogue, and the functions by which the
batch lane binds a model to a changed catalogue and updates its index. A retriever that learned nothing of an item gives
it no score; one that knows items by their text scores it at once.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from assets.domain import Domain
from assets.encoder_stages import ENCODER_KIND
from assets.lake import Lake
from assets.resources import ArtifactResource
from assets.serving import Server
from assets.text_vectors import TextVectors
from assets.warehouse import DIMENSIONS
from assets.warehouse_sql import InteractionRules
from models.errors import DataError
from models.item_text import render_item_text, text_hashes

if TYPE_CHECKING:
    from models.interactions import FloatArray
    from models.language_model import TextEncoder

SLACK_S = 3_600
"""Items that were received so long before a build of the warehouse began may have been committed after its reading."""

_VERSIONS = "SELECT * FROM raw.items WHERE item_id IN (SELECT unnest(?::VARCHAR[]))"
_COLUMNS = (
    "item_id, title, description, categories, brand_or_author, price, currency, available_from, available_until, "
    "updated_at"
)
# Most rows of the last hour are built and say what the warehouse says; the few others are looked at closely.
_RECENT = f"""
SELECT DISTINCT item_id FROM (
    SELECT {_COLUMNS} FROM raw.items WHERE ingested_at >= coalesce(
        (SELECT built_at - to_seconds(seconds::BIGINT + $slack) FROM ops.builds WHERE asset = $asset),
        TIMESTAMP '-infinity'
    )
    EXCEPT SELECT {_COLUMNS} FROM marts.items AT (VERSION => {{snapshot}})
)
"""
_OTHER = "SELECT DISTINCT item_id FROM (SELECT {columns} FROM made EXCEPT SELECT {columns} FROM marts.items) ORDER BY 1"
_INSERTED = """
SELECT DISTINCT item_id FROM ducklake_table_insertions('lake', 'raw', 'items', ?::BIGINT, ?::BIGINT)
"""
_KNOWN = """
SELECT item_id, text_hash, encoder_version, embedding FROM features.item_embeddings
WHERE item_id IN (SELECT unnest(?::VARCHAR[]))
"""
_ENCODER = "SELECT any_value(encoder_version) AS version FROM features.item_embeddings"

# Those who took most to the nearest items, a few for each new one.
_FITTING = """
WITH liked AS (
    SELECT near.new_item, i.user_id, sum(i.weight * near.similarity) AS fit
    FROM marts.interactions AS i JOIN near USING (item_id)
    GROUP BY near.new_item, i.user_id
    QUALIFY row_number() OVER (PARTITION BY near.new_item ORDER BY fit DESC, i.user_id) <= $each
)
SELECT user_id FROM liked GROUP BY user_id ORDER BY max(fit) DESC, user_id LIMIT $most
"""
NEIGHBOURS = 20
"""Nearest items by text whose users are asked for."""
MOST_USERS = 2_000
"""Most users whose lists are made anew for new items that came at once."""


@dataclass(frozen=True)
class ItemChange:
    """What became of changed items."""

    changed: tuple[str, ...]
    new: tuple[str, ...]
    """Of these, items that the catalogue did not have."""
    has_worn_index: bool = False
    """Whether it left so many labels of the index empty that this should be built anew; said once of an index."""


class ItemChanges:
    """Brings a server's items up to the raw rows; holds the encoder."""

    def __init__(self, lake: Lake, domain: Domain, artifacts: ArtifactResource) -> None:
        """Load the encoder when it is first needed, or with `warm`."""
        self._lake, self._domain, self._artifacts = lake, domain, artifacts
        self._encoder: TextEncoder | None = None
        self._version = ""

    def warm(self, server: Server) -> None:
        """Load the encoder that made the vectors of the catalogue, where it has any."""
        if server.recommender.catalogue.embeddings is not None:
            self._load(str(self._lake.frame(_ENCODER)["version"].iloc[0]))

    def unbuilt(self, rules: InteractionRules, snapshot: int) -> list[str]:
        """Items whose raw rows make other items than the warehouse had in a snapshot."""
        with self._lake.connect() as connection:
            values = {"slack": SLACK_S, "asset": DIMENSIONS}
            recent = [item for (item,) in connection.execute(_RECENT.format(snapshot=snapshot), values).fetchall()]
        if not recent:
            return []
        made = rules.items(self._lake.frame(_VERSIONS, [recent]))
        with self._lake.connect(snapshot=snapshot) as connection:
            connection.register("made", made)
            found = connection.execute(_OTHER.format(columns=", ".join(made.columns))).fetchall()
            connection.unregister("made")
        return [item for (item,) in found]

    def inserted(self, begin: int, until: int) -> list[str]:
        """Items that got rows in these snapshots, both included."""
        return list(self._lake.frame(_INSERTED, [begin, until])["item_id"])

    def apply(self, server: Server, rules: InteractionRules, item_ids: list[str]) -> ItemChange:
        """Bring items of a server up to their raw rows, in place.

        An item that was withdrawn stays in catalogue and index. The rules mask it from the moment on from which it may
        not be shown: it can come back, and lists of an earlier moment can be made again. Only the label that an item
        had before its row changed is left empty.

        Args:
            server: Whose catalogue, retrievers and index are changed.
            rules: The warehouse's SQL.
            item_ids: Items with new rows.
        """
        items = rules.items(self._lake.frame(_VERSIONS, [item_ids])) if item_ids else pd.DataFrame()
        if not len(items):
            return ItemChange((), ())
        model, index = server.recommender, server.index
        before, was_worn = set(model.catalogue.item_ids.tolist()), index.has_many_gaps
        vectors = None if model.catalogue.embeddings is None else self._vectors(items, model.catalogue.embeddings)
        model.refresh(model.catalogue.with_items(items, vectors))
        rows = np.flatnonzero(np.isin(model.catalogue.item_ids.astype(str), items["item_id"].to_numpy(dtype=str)))
        vectors_of = model.item_vectors()
        index.add(model.catalogue.item_ids[rows], {name: own[rows] for name, own in vectors_of.items()})
        changed = tuple(items["item_id"])
        new = tuple(item for item in changed if item not in before)
        return ItemChange(changed, new, index.has_many_gaps and not was_worn)

    def fitting_users(self, server: Server, new: tuple[str, ...], *, each: int) -> list[str]:
        """Users whom new items fit best: those who took most to the items nearest to them by text.

        Args:
            server: With the new items.
            new: New items; those without a text fit nobody.
            each: Most users for each item.
        """
        catalogue = server.recommender.catalogue
        if catalogue.embeddings is None or not new or not each:
            return []
        is_new = np.isin(catalogue.item_ids.astype(str), np.array(new, dtype=str))
        old = np.flatnonzero(~is_new)
        found = []
        for row in np.flatnonzero(is_new & catalogue.embeddings.any(axis=1)):
            similarity = catalogue.embeddings[old] @ catalogue.embeddings[row]
            best = np.argsort(-similarity, kind="stable")[:NEIGHBOURS]
            near = {"item_id": catalogue.item_ids[old[best]], "similarity": similarity[best].astype(float)}
            found.append(pd.DataFrame({"new_item": catalogue.item_ids[row], **near}))
        if not found:
            return []
        with self._lake.connect() as connection:
            connection.register("near", pd.concat(found, ignore_index=True))
            users = connection.execute(_FITTING, {"each": each, "most": MOST_USERS}).fetchall()
            connection.unregister("near")
        return [user for (user,) in users]

    def _vectors(self, items: pd.DataFrame, embeddings: "FloatArray") -> "FloatArray":
        """Text vectors of items, shape (items, dimension); an unchanged text keeps the vector that the lake has."""
        texts = render_item_text(items)
        known = self._lake.frame(_KNOWN, [items["item_id"].tolist()]).set_index("item_id")
        hashes = items["item_id"].map(known["text_hash"])
        is_known = (hashes == text_hashes(texts)).to_numpy()
        vectors = np.zeros((len(items), embeddings.shape[1]), dtype=np.float32)
        if is_known.any():
            vectors[is_known] = np.stack(known["embedding"].reindex(items["item_id"][is_known]).tolist())
        if not is_known.all():
            made = self._encoded(texts[~is_known])
            if made.shape[1] != embeddings.shape[1]:
                raise DataError(
                    f"the encoder {self._version} makes vectors of {made.shape[1]} dimensions, the catalogue has "
                    f"{embeddings.shape[1]}; run `freshet run`"
                )
            vectors[~is_known] = made
        return vectors

    def _encoded(self, texts: "pd.Series[str]") -> "FloatArray":
        """Vectors of texts that the lake has no vectors of, shape (texts, dimension)."""
        version = str(self._lake.frame(_ENCODER)["version"].iloc[0])
        kept, hashes = TextVectors(self._artifacts.store, version), text_hashes(texts).tolist()
        vectors = kept.found(hashes)
        missing = {key: text for key, text in zip(hashes, texts, strict=True) if key not in vectors}
        if missing:
            made = self._load(version).encode(list(missing.values()))
            vectors.update(zip(missing, made, strict=True))
            kept.keep(sorted(vectors), np.stack([vectors[key] for key in sorted(vectors)]))
        return np.stack([vectors[key] for key in hashes])

    def _load(self, version: str) -> "TextEncoder":
        if self._encoder is None or self._version != version:
            from models.encoder_config import FinetuningConfig
            from models.language_model import TextEncoder

            tokens = FinetuningConfig.from_mapping(self._domain.finetuning).max_tokens
            folder = self._artifacts.store.path(ENCODER_KIND, version)
            self._encoder, self._version = TextEncoder.load(folder, max_tokens=tokens), version
        return self._encoder
