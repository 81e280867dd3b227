"""What the nearline lane holds between batches, kept in step with what others write to the lake.

A refresh that published lists, or a new champion, means a new server; raw events that another path brought mean that
what is hot of their users is old; items with new rows and business rules change the server that is loaded. All are
found in the snapshots of the lake.

The next server is loaded in a thread of its own, and lists are made with the present one until it is there; it is
changed in `refresh` only, so one batch never sees two.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from assets.background_load import BackgroundLoad
from assets.builds import BuildRecord, last_build
from assets.dbt_project import WarehouseProject
from assets.domain import Domain
from assets.item_changes import ItemChanges
from assets.known_events import KnownEvents
from assets.lake import Lake
from assets.lake_memory import LakeMemory
from assets.lake_news import cut_lists, end_of_days, old_lists, users_with_events
from assets.lists_to_renew import ListsToRenew
from assets.model_inputs import rerank_rules
from assets.prepared_server import ITEM_RULES, Loaded, PreparedServer, ServerLoader, with_new_index
from assets.resources import ArtifactResource
from assets.serving import TOP_K
from assets.source_positions import KnownProgress
from assets.user_states import UserStates
from assets.warehouse_sql import InteractionRules

KNOWN_SHARE = 0.25
"""Memory for the ids of events, beside that for users and as a share of it."""
_LOG = logging.getLogger(__name__)


class LakeWatch(ListsToRenew):
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
        is_ready_for_texts: bool = True,
        on_load_failure: Callable[[Exception], None] | None = None,
    ) -> None:
        """Begin with nothing loaded.

        Args:
            lake: The lake.
            domain: The domain whose rules and surface count.
            artifacts: Where models are.
            project: Whose SQL makes interactions.
            budget_bytes: Memory for what is kept of users.
            new_item_users: Most users whose lists are made anew for each new item.
            is_ready_for_texts: Whether the encoder is loaded before an item with a new text needs it.
            on_load_failure: Told of each failure to load the next server; it is tried again.
        """
        super().__init__(lake, domain, new_item_users)
        self._loader = ServerLoader(lake, domain, artifacts, project, new_item_users, is_ready_for_texts)
        self._next = BackgroundLoad(self._loader.load, on_failure=self._not_loaded)
        self._on_load_failure = on_load_failure or (lambda error: None)
        self._behind_from: int | None = None
        """Where lists were published that another server than the loaded one belongs to: a snapshot from before it."""
        self._budget = budget_bytes
        self._loaded: Loaded | None = None
        self.has_committed = False
        """Whether a batch was committed since the present server was taken into use."""
        self._own_snapshots = deque[int]()
        self._may_be_cut = False  # looked for after the first batch, which has waited for a load already
        self._rules_key = ""
        self.snapshot = 0
        self.memory = LakeMemory(KnownEvents(lake, budget_bytes=int(KNOWN_SHARE * budget_bytes)), KnownProgress())
        """What raw holds, once `warm` has read it, and how far sources were read."""
        self.rules: InteractionRules
        self._items: ItemChanges
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
    def is_behind(self) -> bool:
        """Whether lists were published that another server belongs to, which is being loaded."""
        return self._behind_from is not None

    @property
    def input_snapshot(self) -> int:
        """The snapshot that new lists are said to be made from.

        While the next server is loaded, one from before the publication that it belongs to: so whoever leads next knows
        these lists as old, and checks do not compare them with what the new server makes.
        """
        return self.snapshot if self._behind_from is None else self._behind_from

    @property
    def load_error(self) -> str:
        """Why the next server could not be loaded; empty once it was, and while none has failed."""
        return self._next.error

    def refresh(self, now: datetime | None = None) -> Loaded:
        """Take in what others have written since the last call, and what has begun or ended by itself.

        The first server is waited for. After that the next one is loaded beside the present one, which is answered
        until then.

        Args:
            now: The present moment, UTC without a zone; None: no time passes.

        Raises:
            NotFittedError: champion and index do not belong together; a refresh is under way, try again.
            DataError: nothing was ever built.
        """
        loaded = self._caught_up()
        if now is not None:
            self._pass_time(loaded.server, self._items, now)
        return loaded

    def _caught_up(self) -> Loaded:
        """The server, with what others have written until now."""
        if self._loaded is not None and self._may_be_cut:
            self.leave(cut_lists(self._lake, self._domain.surface, self._domain.top_k))
            self._may_be_cut = False
        snapshot = self._lake.current_snapshot()
        snapshot = max(snapshot, self.pass_over())
        if self._loaded is not None and snapshot == self.snapshot and self._behind_from is None:
            return self._loaded
        published = last_build(self._lake, TOP_K)
        key, made_at = _key(published), published.snapshot if published else None
        if self._loaded is None:
            # Lists that name a later snapshot came from the server that a worker has loaded at its start.
            self._use(self._loaded_now(key), snapshot if made_at is None else made_at + 1)
            self._go_on_from_lists()
        elif key != self._loaded.key and (prepared := self._next.take(key)) is not None:
            self._use(prepared, snapshot)
        self._take_in(snapshot)
        assert self._loaded is not None
        if self._loaded.key == key:
            self._behind_from = None
        elif self._behind_from is None:
            self._behind_from = self.snapshot if made_at is None else min(self.snapshot, made_at)
            # Whoever published them may not have known what the present server knows: they are looked through at once.
            self._others_published()
        self._take_rules()
        self.snapshot = snapshot
        self._judge(self._loaded.server, data_until=end_of_days(self._lake, snapshot))
        return self._loaded

    def take_items(self, item_ids: list[str]) -> None:
        """Bring items up to their raw rows; users whom new ones fit are left to be renewed."""
        loaded = self._loaded
        assert loaded is not None
        # Where it fails half of it may be done: then another server is loaded.
        self._loaded = None
        change = self._items.apply(loaded.server, self.rules, item_ids)
        if change.has_worn_index:
            loaded = replace(loaded, server=with_new_index(loaded.server))
        self._loaded = loaded
        self.leave(self._items.fitting_users(loaded.server, change.new, each=self._loader.new_item_users))
        self._judge(loaded.server)

    def warm(self) -> bool:
        """Read what events will need before they come: the ids of all others, then some users.

        Returns:
            Whether there is more to read. Nothing before the first refresh.
        """
        if self._loaded is None:
            return False
        if self.memory.events.is_wanted:
            self.memory.events.load(self.snapshot)
            return True
        return self.states.warm(snapshot=self.snapshot)

    def forget(self) -> None:
        """What is known of users and events turned out to be old."""
        self.states.forget()
        self.memory.forget()

    def unload(self) -> None:
        """Know nothing any more, as at the beginning: after a time without a look at the lake."""
        self._loaded = None
        self.memory.forget()
        self._next.drop()
        self._left.clear()
        self.snapshot = 0

    def written(self, snapshot: int, data_until: datetime) -> None:
        """Our own batch was committed as `snapshot`; what others committed just before it is taken in.

        Args:
            snapshot: Its id.
            data_until: End of the last day with events, with those of the batch, UTC.
        """
        if snapshot > self.snapshot + 1:
            self._take_in(snapshot - 1)
        self.memory.written(snapshot)
        self.snapshot, self.has_committed = snapshot, True
        if self._loaded is not None:
            self._judge(self._loaded.server, data_until=data_until)

    def made(self, snapshot: int) -> None:
        """Our own upkeep was committed as `snapshot` and changed no row; told from any thread, before others write."""
        self._own_snapshots.append(snapshot)

    def pass_over(self) -> int:
        """What `made` has told needs no look at the lake, also as a transaction of ours begins; returns `snapshot`."""
        while self._own_snapshots:
            snapshot = self._own_snapshots.popleft()
            if self._loaded is not None and snapshot == self.snapshot + 1:
                self.memory.pass_over(snapshot)
                self.snapshot = snapshot
        return self.snapshot

    def close(self) -> None:
        """Give up what is loaded beside the present server."""
        self._next.close()

    def _loaded_now(self, key: str) -> PreparedServer:
        prepared = self._loader.load(key, lambda: True)
        assert prepared is not None
        return prepared

    def _use(self, prepared: PreparedServer, made_from: int) -> None:
        """Make lists with another server from now on; those of this lane made from earlier snapshots are left."""
        left = [*prepared.fitting, *old_lists(self._lake, self._domain.surface, made_from)]
        self._loaded = None
        self.rules, self._items = prepared.rules, prepared.items
        self.states = UserStates(self._lake, self.rules, budget_bytes=self._budget)
        self._rules_key = prepared.item_rules
        self.leave(left)
        self._others_published()
        self._loaded, self.has_committed = Loaded(prepared.server, prepared.key), False
        self._may_be_cut = True
        self.snapshot = prepared.snapshot

    def _not_loaded(self, error: Exception) -> None:
        _LOG.warning("lists are made with the model of before, since the next one could not be loaded: %s", error)
        self._on_load_failure(error)

    def _take_rules(self) -> None:
        """Take over the business rules as they are now."""
        assert self._loaded is not None
        key = self._lake.fingerprint(ITEM_RULES)
        if key != self._rules_key:
            server = replace(self._loaded.server, rules=rerank_rules(self._lake, self._domain))
            self._loaded, self._rules_key = Loaded(server, self._loaded.key), key

    def _take_in(self, until: int) -> None:
        """Forget the users who got events from another path, and renew their lists; take over items that changed."""
        if until <= self.snapshot:
            return
        self.memory.events.take_in(until)
        users = users_with_events(self._lake, self.snapshot + 1, until)
        self.states.forget(users)
        self.leave(users)
        items = self._items.inserted(self.snapshot + 1, until)
        if items:
            self.take_items(items)


def _key(record: BuildRecord | None) -> str:
    """What decides which server is loaded: the last publication of lists."""
    return f"{record.fingerprint}:{record.snapshot}" if record else "none"
