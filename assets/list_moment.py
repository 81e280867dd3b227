"""The moment that lists of the nearline lane are for: the end of the data, and what has begun or ended by itself since.

The clock moves it in steps, from one boundary of the catalogue or the rules to the next, and never between two. A
boundary is data, so a list says with `generated_at` all that is needed to make it again, and where nothing begins or
ends no list changes, however late it is. It follows from the end of the data, the boundaries and the clock alone, so a
successor comes to the same.

The clock counts while it lies less than the life of a list beyond the end of the data. Later all lists have expired,
and the data is history: an item that ended years after it is part of it. It is the end of the data that counts there,
and from which lists live, not the moment that was reached: else each step would prolong both.
"""

from datetime import datetime, timedelta

import numpy as np

from assets.model_inputs import seconds
from assets.serving import Server
from models.boundaries import boundaries
from models.catalogue import ALWAYS, Catalogue
from models.reranking import RerankRules

_EPOCH = datetime(1970, 1, 1)


class ListMoment:
    """Never goes back."""

    def __init__(self, lists_live: timedelta) -> None:
        """Begin before all data.

        Args:
            lists_live: From the end of the data until lists expire.
        """
        self._lists_live = lists_live
        self.data_until = datetime.min
        """End of the last day with events, UTC."""
        self.as_of = datetime.min
        """The moment that lists are for, UTC: at or after the end of the data."""
        self._offered = datetime.min
        self._until: tuple[Catalogue, RerankRules, int] | None = None
        """The first boundary of catalogue and rules, in seconds since 1970 UTC, that the clock has not passed."""

    @property
    def not_offered_since(self) -> datetime | None:
        """Where what has become available by the clock was not looked for yet: a moment from before it came."""
        since = max(self._offered, self.data_until)
        return since if since < self.as_of else None

    def reach(self, data_until: datetime, as_of: datetime = datetime.min) -> None:
        """There is data until a moment, or lists of a later one."""
        self.data_until = max(self.data_until, data_until)
        self.as_of = max(self.as_of, self.data_until, as_of)

    def follow(self, server: Server, now: datetime) -> bool:
        """Go on to the last boundary that the clock has passed, where it counts.

        Args:
            server: With catalogue and rules as they are now.
            now: The present moment, UTC without a zone.

        Returns:
            Whether there was one.
        """
        if now - self._lists_live >= self.data_until:
            return False
        reached = self._last_boundary(server.recommender.catalogue, server.rules, seconds(now))
        if reached <= seconds(self.as_of):
            return False
        self.as_of = _EPOCH + timedelta(seconds=reached)
        return True

    def offered(self) -> None:
        """What is available now was offered to the users whom it fits."""
        self._offered = self.as_of

    def offer_again(self) -> None:
        """Lists may have been made that know of nothing since the end of the data."""
        self._offered = datetime.min

    def _last_boundary(self, catalogue: Catalogue, rules: RerankRules, now: int) -> int:
        """The last boundary that was not asked for yet, up to now; seconds since 1970 UTC."""
        if self._until is not None and self._until[0] is catalogue and self._until[1] is rules and now < self._until[2]:
            return -ALWAYS
        moments = boundaries(catalogue, rules.item_rules)
        is_passed = moments <= now
        self._until = (catalogue, rules, int(np.min(moments[~is_passed], initial=ALWAYS)))
        return int(np.max(moments[is_passed], initial=-ALWAYS))
