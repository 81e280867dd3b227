"""What the nearline lane holds between batches, kept in step with what others write to the lake.

A refresh that published lists, a new champion or a business rule means a new server; raw events that another path
brought mean that what is hot of their users is old. Both are found in the snapshots of the lake.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from assets.builds import last_build
from assets.dbt_project import WarehouseProject
from assets.domain import Domain
from assets.lake import Lake
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
    ) -> None:
        """Begin with nothing loaded."""
        self._lake = lake
        self._domain = domain
        self._artifacts = artifacts
        self._project = project
        self._budget = budget_bytes
        self._loaded: Loaded | None = None
        self._left: dict[str, None] = {}
        self.snapshot = 0
        self.as_of = datetime.min
        """End of the last day with events: the moment that lists are for."""

        self.rules: InteractionRules
        self.states: UserStates

    def __len__(self) -> int:
        """Users who are hot."""
        return 0 if self._loaded is None else len(self.states)

    @property
    def hot_bytes(self) -> int:
        """Memory of the hot users, as estimated."""
        return 0 if self._loaded is None else self.states.bytes

    @property
    def left(self) -> int:
        """Users whose lists others have left to this lane to renew."""
        return len(self._left)

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
        self.snapshot = snapshot
        self.as_of = max(self.as_of, _as_of(self._lake, snapshot))
        assert self._loaded is not None
        return self._loaded

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
        self.as_of = max(self.as_of, as_of)

    def _load(self, key: str) -> None:
        server = Server.load(self._lake, self._domain, self._artifacts)
        if server.index.model_version != server.model_version:
            raise NotFittedError(
                f"the index was built for model {server.index.model_version}, the champion is {server.model_version}; "
                "wait for the refresh under way, or run `freshet run`"
            )
        self.rules = InteractionRules.load(self._project, self._lake)
        self.states = UserStates(self._lake, self.rules, budget_bytes=self._budget)
        self._loaded = Loaded(server, key)

    def _leave_stale(self, snapshot: int) -> None:
        """Lists of this lane from before a snapshot, which the batch lane did not overwrite: they were ahead of it."""
        left = self._lake.frame(_LEFT, [self._domain.surface, snapshot])
        self.leave(left["user_id"])

    def _take_in(self, until: int) -> None:
        """Forget the users who got events from another path, and renew their lists."""
        if until <= self.snapshot:
            return
        users = self._lake.frame(_INSERTED, [self.snapshot + 1, until])["user_id"].tolist()
        self.states.forget(users)
        self.leave(users)


def server_key(lake: Lake) -> str:
    """What decides which server is loaded: the last publication of lists, and the business rules."""
    record = last_build(lake, TOP_K)
    built = f"{record.fingerprint}:{record.snapshot}" if record else "none"
    return f"{built}:{lake.fingerprint('serving.item_rules')}"


def _as_of(lake: Lake, snapshot: int) -> datetime:
    moment = lake.frame(_AS_OF, snapshot=snapshot)["as_of"].iloc[0]
    return datetime.min if pd.isna(moment) else pd.Timestamp(moment).to_pydatetime()
