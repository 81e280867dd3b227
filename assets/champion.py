"""The champion: the recommender that serves, loaded from its artifact and bound to today's catalogue.

What follows from catalogue and log alone is counted by whoever loads first and kept beside the models, since counting
over millions of interactions takes longer than all the rest.
"""

import hashlib
import json
from typing import TYPE_CHECKING

from assets.artifacts import ArtifactStore
from assets.builds import built_version
from assets.lake import Lake
from assets.model_inputs import read_catalogue, read_log
from assets.recommender import KIND, PRODUCTION
from models.errors import NotFittedError

if TYPE_CHECKING:
    from models.recommender import Recommender
    from models.recounts import Recounts

CHAMPION = "champion_recommender"
COUNTS_KIND = "recounts"
COUNTS_KEPT = 3
COUNTED_BY = "1"
"""Raised by hand whenever the same log would be counted otherwise."""
_COUNTED = ("features.training_interactions", "marts.items", "marts.users")
"""Tables that the counts follow from, beside the champion's settings."""


def load_champion(lake: Lake, store: ArtifactStore, *, version: str | None = None) -> "Recommender":
    """The champion with today's items, popularity and co-occurrence.

    Args:
        lake: The lake.
        store: Where the models are.
        version: Of the champion; by default that of the last promotion.

    Raises:
        DataError: no challenger has been promoted yet.
    """
    from models.recommender import Recommender

    version, snapshot = version or built_version(lake, CHAMPION), lake.current_snapshot()
    champion = Recommender.load(store.path(KIND, version) / PRODUCTION)
    catalogue = read_catalogue(lake, snapshot=snapshot)
    parts = json.dumps([COUNTED_BY, version, *lake.files_of(_COUNTED, snapshot)])
    key = hashlib.sha256(parts.encode()).hexdigest()[:32]
    counts = _kept_counts(store, key)
    champion.refresh(catalogue, read_log(lake, catalogue, snapshot=snapshot) if counts is None else counts)
    if counts is None:
        with store.scratch() as folder:
            champion.recounts.save(folder)
            store.put_as(folder, COUNTS_KIND, key)
        store.keep_newest(COUNTS_KIND, COUNTS_KEPT)
    return champion


def _kept_counts(store: ArtifactStore, key: str) -> "Recounts | None":
    """What was counted before; None where nobody did, or where it is being removed as one of the oldest."""
    from models.recounts import Recounts

    try:
        return Recounts.load(store.root / COUNTS_KIND / key)
    except (NotFittedError, OSError):
        return None
