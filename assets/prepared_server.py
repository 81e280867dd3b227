"""A server and all that goes with it: what the nearline lane loads when it begins and after each publication."""

import logging
from dataclasses import dataclass, replace

from assets.background_load import IsWanted
from assets.dbt_project import WarehouseProject
from assets.domain import Domain
from assets.item_changes import ItemChanges
from assets.lake import Lake
from assets.resources import ArtifactResource
from assets.serving import Server
from assets.warehouse_sql import InteractionRules
from models.errors import NotFittedError

ITEM_RULES = "serving.item_rules"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A server, and what it was loaded from."""

    server: Server
    key: str
    """Changes whenever another server would be loaded."""


@dataclass(frozen=True)
class PreparedServer:
    """A server with the items that the warehouse has not built yet."""

    server: Server
    key: str
    """Of the publication that it belongs to."""
    rules: InteractionRules
    items: ItemChanges
    """With the encoder of this server."""
    item_rules: str
    """Fingerprint of the business rules from before they were read; where it has changed, they are read again."""
    fitting: tuple[str, ...]
    """Users whom items fit that the warehouse has not built."""
    snapshot: int
    """Items that changed up to it are in the server."""


@dataclass(frozen=True)
class ServerLoader:
    """Loads servers of one home folder; may be called from any thread."""

    lake: Lake
    domain: Domain
    artifacts: ArtifactResource
    project: WarehouseProject
    new_item_users: int
    """Most users whose lists are made anew for each new item."""
    is_ready_for_texts: bool = True
    """Whether the encoder is loaded too, before an item with a new text needs it."""

    def load(self, key: str, is_wanted: IsWanted) -> PreparedServer | None:
        """The server of the last publication; None where it ceased to be wanted meanwhile.

        Args:
            key: Of that publication.
            is_wanted: Asked between the steps.

        Raises:
            NotFittedError: champion and index do not belong together; a refresh is under way, try again.
            DataError: nothing was ever built.
        """
        snapshot, item_rules = self.lake.current_snapshot(), self.lake.fingerprint(ITEM_RULES)
        server = Server.load(self.lake, self.domain, self.artifacts)
        if server.index.model_version != server.model_version:
            raise NotFittedError(
                f"the index was built for model {server.index.model_version}, the champion is {server.model_version}; "
                "wait for the refresh under way, or run `freshet run`"
            )
        if not is_wanted():
            return None
        rules = InteractionRules.load(self.project, self.lake)
        items = ItemChanges(self.lake, self.domain, self.artifacts)
        if self.is_ready_for_texts:
            items.warm(server)
        if not is_wanted():
            return None
        change = items.apply(server, rules, items.unbuilt(rules, snapshot))
        if change.has_worn_index:
            server = with_new_index(server)
        fitting = items.fitting_users(server, change.new, each=self.new_item_users)
        return PreparedServer(server, key, rules, items, item_rules, tuple(fitting), snapshot)


def with_new_index(server: Server) -> Server:
    """The server with its index built anew in memory, where that changes no list: where it is searched exactly.

    What inverted lists find follows from what they were clustered on. A list names the index that it was made with, so
    that others can make it again; from one that only this process holds they could not. It is left to the next refresh.
    """
    index, model = server.index, server.recommender
    is_exact = all(index.is_exact(name) for name in index.names)
    if not is_exact or model.catalogue.count >= index.config.exact_below:
        _LOG.warning("changed items have left many labels of the index empty; `freshet run` builds it anew")
        return server
    made = model.build_index(seed=server.domain.seed, model_version=index.model_version, snapshot=index.snapshot)
    return replace(server, index=made)
