"""What the nearline lane holds between batches, kept in step with what others write to the lake.

A refresh that published lists, or a new champion, means a new server; raw events that another path brought mean that
what is hot of their users is old; items with new rows and business rules change the server that is loaded. All are
found in the snapshots of the lake.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import pandas as pd

from assets.builds import last_build
from assets.dbt_project import WarehouseProject
from assets.domain import Domain
from assets.item_changes import ItemChanges
from assets.lake import Lake
from assets.list_guard import ShownItems, cut_lists
from assets.model_inputs import rerank_rules, seconds
from assets.resources import ArtifactResource
from assets.serving import TOP_K, Server
from assets.user_states import UserStates
from assets.warehouse_sql import InteractionRules
from models.errors import NotFittedError

_INSERTED = """
SELECT DISTINCT user_id FROM ducklake_table_insertions('lake', 'raw', 'events', ?::BIGINT, ?::BIGINT)
"""
_AS_OF = """
SELECT greatest(
    (SELECT max(event_day) FROM marts.interactions), (SELECT max(event_day) FROM ops.pending_days)
) + INTERVAL 1 DAY AS as_of
"""
_LEFT = "SELECT user_id FROM serving.top_k WHERE surface = ? AND lane = 'nearline' AND input_snapshot < ?"


@dataclass(frozen=True)
class Loaded:
    """A server, and what it was loaded from."""

    server: Server
    key: str
    """Changes whenever another server would be loaded."""


class LakeWatch:
    """Server, rules and hot state, and the snapshot up to which they are true."""

    def __init__(
        self,
        lake: Lake,
        domain: Domain,
        artifacts: ArtifactResource,
        project: WarehouseProject,
        *,
        budget_bytes: int,
        new_item_users: int = 200,
    ) -> None:
        """Begin with nothing loaded."""
        self._lake = lake
        self._domain = domain
        self._artifacts = artifacts
        self._project = project
        self._budget = budget_bytes
        self._loaded: Loaded | None = None
        self._left: dict[str, None] = {}
        self._rules_key = ""
        self._items = ItemChanges(lake, domain, artifacts)
        self._new_item_users = new_item_users
        self._shown = ShownItems()
        self.snapshot = 0
        self.as_of = datetime.min
        """End of the last day with events: the moment that lists are for."""

        self.rules: InteractionRules
        self.states: UserStates

    @property
    def lake(self) -> Lake:
        """The lake that is watched."""
        return self._lake

    def __len__(self) -> int:
        """Users who are hot."""
        return 0 if self._loaded is None else len(self.states)

    @property
    def hot_bytes(self) -> int:
        """Memory of the hot users, as estimated."""
        return 0 if self._loaded is None else self.states.bytes

    @property
    def left(self) -> int:
        """Users whose lists others have left to this lane to renew, and items that are to leave all lists."""
        return len(self._left) + len(self._shown.banned)

    @property
    def banned(self) -> frozenset[str]:
        """Items that may not be shown and may be in lists still."""
        return frozenset(self._shown.banned)

    def refresh(self) -> Loaded:
        """Take in what others have written since the last call.

        Raises:
            NotFittedError: champion and index do not belong together; a refresh is under way, try again.
            DataError: nothing was ever built.
        """
        snapshot = self._lake.current_snapshot()
        if self._loaded is not None and snapshot == self.snapshot:
            return self._loaded
        key = server_key(self._lake)
        if self._loaded is None or key != self._loaded.key:
            published = last_build(self._lake, TOP_K) if self._loaded is None else None
            self._load(key)
            # Lists made since the last publication came from the server that a worker has loaded at its start.
            made_at = published.snapshot if published else None
            self._leave_stale(snapshot if made_at is None else made_at + 1)
        else:
            self._take_in(snapshot)
        self._take_rules()
        self.snapshot = snapshot
        self.as_of = max(self.as_of, _as_of(self._lake, snapshot))
        assert self._loaded is not None
        self._shown.update(self._loaded.server, seconds(self.as_of))
        return self._loaded

    def take_items(self, item_ids: list[str]) -> None:
        """Bring items up to their raw rows; users whom new ones fit are left to be renewed."""
        loaded = self._loaded
        assert loaded is not None
        # Where it fails half of it may be done: then another server is loaded.
        self._loaded = None
        change = self._items.apply(loaded.server, self.rules, item_ids)
        if change.has_index_gaps:
            loaded = replace(loaded, server=_with_new_index(loaded.server))
        self._loaded = loaded
        self.leave(self._items.fitting_users(loaded.server, change.new, each=self._new_item_users))
        self._shown.update(loaded.server, seconds(self.as_of))

    def struck(self, item_ids: Iterable[str], user_ids: Iterable[str]) -> None:
        """Items have left all lists; those of these users are to be made anew."""
        self._shown.banned.difference_update(item_ids)
        self.leave(user_ids)

    def warm(self) -> bool:
        """Read some users ahead of their events; returns whether there are more. Nothing before the first refresh."""
        return self._loaded is not None and self.states.warm(snapshot=self.snapshot)

    def unload(self) -> None:
        """Know nothing any more, as at the beginning: after a time without a look at the lake."""
        self._loaded = None
        self._left.clear()
        self.snapshot = 0

    def take_left(self, count: int) -> tuple[str, ...]:
        """Some of the users whose lists were left to this lane; `leave` gives them back after a failure."""
        taken = tuple(list(self._left)[:count])
        for user in taken:
            del self._left[user]
        return taken

    def leave(self, user_ids: Iterable[str]) -> None:
        """Have the lists of users renewed by one of the next batches."""
        self._left.update(dict.fromkeys(user_ids))

    def written(self, snapshot: int, as_of: datetime) -> None:
        """Our own batch was committed as `snapshot`; what others committed just before it is taken in."""
        if snapshot > self.snapshot + 1:
            self._take_in(snapshot - 1)
        self.snapshot = snapshot
        if as_of > self.as_of and self._loaded is not None:
            self.as_of = as_of
            self._shown.update(self._loaded.server, seconds(as_of))

    def _load(self, key: str) -> None:
        server = Server.load(self._lake, self._domain, self._artifacts)
        if server.index.model_version != server.model_version:
            raise NotFittedError(
                f"the index was built for model {server.index.model_version}, the champion is {server.model_version}; "
                "wait for the refresh under way, or run `freshet run`"
            )
        self._loaded = None
        self.rules = InteractionRules.load(self._project, self._lake)
        self.states = UserStates(self._lake, self.rules, budget_bytes=self._budget)
        self._rules_key = self._lake.fingerprint("serving.item_rules")
        self._items.warm(server)
        change = self._items.apply(server, self.rules, self._items.unbuilt())
        self.leave(self._items.fitting_users(server, change.new, each=self._new_item_users))
        self._shown.reset()
        self._loaded = Loaded(server, key)

    def _take_rules(self) -> None:
        """Take over the business rules as they are now."""
        assert self._loaded is not None
        key = self._lake.fingerprint("serving.item_rules")
        if key != self._rules_key:
            server = replace(self._loaded.server, rules=rerank_rules(self._lake, self._domain))
            self._loaded, self._rules_key = Loaded(server, self._loaded.key), key

    def _leave_stale(self, snapshot: int) -> None:
        """Lists of this lane from before a snapshot, which the batch lane did not overwrite: they were ahead of it."""
        left = self._lake.frame(_LEFT, [self._domain.surface, snapshot])
        self.leave(left["user_id"])
        with self._lake.connect() as connection:
            self.leave(cut_lists(connection, self._domain.surface, self._domain.top_k))

    def _take_in(self, until: int) -> None:
        """Forget the users who got events from another path, and renew their lists; take over items that changed."""
        if until <= self.snapshot:
            return
        users = self._lake.frame(_INSERTED, [self.snapshot + 1, until])["user_id"].tolist()
        self.states.forget(users)
        self.leave(users)
        items = self._items.inserted(self.snapshot + 1, until)
        if items:
            self.take_items(items)


def server_key(lake: Lake) -> str:
    """What decides which server is loaded: the last publication of lists."""
    record = last_build(lake, TOP_K)
    return f"{record.fingerprint}:{record.snapshot}" if record else "none"


def _with_new_index(server: Server) -> Server:
    """The server with its index built anew in memory; a large one takes minutes and is left to the next refresh."""
    index, model = server.index, server.recommender
    if model.catalogue.count >= index.config.exact_below:
        return server
    made = model.build_index(seed=server.domain.seed, model_version=index.model_version, snapshot=index.snapshot)
    return replace(server, index=made)


def _as_of(lake: Lake, snapshot: int) -> datetime:
    moment = lake.frame(_AS_OF, snapshot=snapshot)["as_of"].iloc[0]
    return datetime.min if pd.isna(moment) else pd.Timestamp(moment).to_pydatetime()
