"""The champion: the recommender that serves, loaded from its artifact and bound to today's catalogue."""

from typing import TYPE_CHECKING

from assets.artifacts import ArtifactStore
from assets.builds import built_version
from assets.lake import Lake
from assets.model_inputs import read_catalogue, read_log
from assets.recommender import KIND, PRODUCTION

if TYPE_CHECKING:
    from models.recommender import Recommender

CHAMPION = "champion_recommender"


def load_champion(lake: Lake, store: ArtifactStore) -> "Recommender":
    """The champion with today's items, popularity and co-occurrence.

    Raises:
        DataError: no challenger has been promoted yet.
    """
    from models.recommender import Recommender

    champion = Recommender.load(store.path(KIND, built_version(lake, CHAMPION)) / PRODUCTION)
    catalogue = read_catalogue(lake)
    champion.refresh(catalogue, read_log(lake, catalogue))
    return champion
