"""Which published lists the nearline lane has yet to change: of these users, and any that holds one of these items.

Events of another path, new items, another server, a rule, or time that passed may be the reason.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from assets.domain import Domain
from assets.item_changes import ItemChanges
from assets.lake import Lake
from assets.lake_news import moments_of_lists, older_lists
from assets.list_guard import ShownItems, items_that_came
from assets.list_moment import ListMoment
from assets.model_inputs import seconds
from assets.serving import Server

MOST_CAME = 50
"""Most items that become available by the clock at once and are offered; the others wait for each user's next list."""


class ListsToRenew:
    """Users whose lists are to be made anew, items that are to leave all lists, and the moment that lists are for."""

    def __init__(self, lake: Lake, domain: Domain, new_item_users: int) -> None:
        """Begin with nothing to do.

        Args:
            lake: Where the lists are.
            domain: Whose surface counts.
            new_item_users: Most users whose lists are made anew for each item that is offered.
        """
        self._lake, self._domain, self._new_item_users = lake, domain, new_item_users
        self._lists_live = timedelta(hours=domain.list_ttl_hours)
        self._left: dict[str, None] = {}
        self._shown = ShownItems()
        self._moment = ListMoment(self._lists_live)

    @property
    def as_of(self) -> datetime:
        """The moment that lists are for, UTC: the end of the data, or what has begun or ended by itself since."""
        return self._moment.as_of

    @property
    def data_until(self) -> datetime:
        """End of the last day with events, UTC; lists live from then."""
        return self._moment.data_until

    @property
    def left(self) -> int:
        """Users whose lists are left to this lane to renew, and items that are to leave all lists or to be offered."""
        return len(self._left) + len(self._shown.banned) + (self._moment.not_offered_since is not None)

    @property
    def banned(self) -> frozenset[str]:
        """Items that may not be shown and may be in lists still."""
        return frozenset(self._shown.banned)

    def struck(self, item_ids: Iterable[str], user_ids: Iterable[str]) -> None:
        """Items have left all lists; those of these users are to be made anew."""
        self._shown.banned.difference_update(item_ids)
        self.leave(user_ids)

    def take_left(self, count: int) -> tuple[str, ...]:
        """Some of the users whose lists were left to this lane; `leave` gives them back after a failure."""
        taken = tuple(list(self._left)[:count])
        for user in taken:
            del self._left[user]
        return taken

    def leave(self, user_ids: Iterable[str]) -> None:
        """Have the lists of users renewed by one of the next batches."""
        self._left.update(dict.fromkeys(user_ids))

    def _go_on_from_lists(self) -> None:
        """Never make lists for an earlier moment than that of those that are there."""
        self._moment.reach(*moments_of_lists(self._lake, self._domain.surface, self._lists_live))

    def _others_published(self) -> None:
        """Lists may hold any item, and may know of nothing that came since the end of the data."""
        self._shown.reset()
        self._moment.offer_again()

    def _judge(self, server: Server, *, data_until: datetime = datetime.min) -> None:
        """See which items may not be shown any more, with data until a moment."""
        self._moment.reach(data_until)
        self._shown.update(server, seconds(self.as_of))

    def _pass_time(self, server: Server, items: ItemChanges, now: datetime) -> None:
        """What has begun or ended by itself until now counts; removals go first, then items are offered that came."""
        if self._moment.follow(server, now):
            self._judge(server)
        since = self._moment.not_offered_since
        if since is None or self._shown.banned:
            return
        came = items_that_came(server, seconds(since), seconds(self.as_of))
        fitting = items.fitting_users(server, tuple(came[:MOST_CAME]), each=self._new_item_users)
        self.leave(older_lists(self._lake, self._domain.surface, fitting, self.as_of))
        self._moment.offered()
