"""What people do on a day: sessions of visits, each a chain of choices, vectorised over all sessions at once.

A choice either follows the series of the item before, or takes a topic from the user's interests and picks among
a few items of that topic, drawn by popularity, the one that suits style, community and favourite makers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assets.sources.demo.catalogue import Catalogue
from assets.sources.demo.draws import FloatArray, IntArray, stream
from assets.sources.demo.population import INTERESTS, Population

PARTS_OF_DAY = ((6.0, 9.5), (12.0, 15.0), (18.0, 21.0))
"""Hours between which sessions start. A session lasts under 75 minutes, so sessions never come within an hour of
each other, and none crosses midnight."""

_BLOCK_USERS = 50_000
_LONGEST_SESSION = 12
_OPTIONS = 16
_REMEMBERED = 24
_STYLE_PULL, _COMMUNITY_PULL, _FAVOURITE_PULL, _SEEN_PULL = 3.0, 14.0, 2.0, 0.05
_WEEKDAY = (0.95, 0.9, 0.9, 0.95, 1.05, 1.2, 1.15)
_BOT_IS_ACTIVE = 0.25
_BOT_EVENTS = (330, 520)


@dataclass(frozen=True)
class DayEvents:
    """Events of one day in order of time; shape (events,) each."""

    user: IntArray
    item: IntArray
    kind: IntArray
    """Index into the domain's event types; 0 is a view."""
    at_ms: IntArray
    """Milliseconds since midnight UTC."""
    part_of_day: IntArray
    """Number of the session within the day; 9 for bots."""
    is_entry: NDArray[np.bool_]
    """Whether the event belongs to the first visit of a session."""
    is_bot: NDArray[np.bool_]


@dataclass(frozen=True)
class _Shelf:
    """Items of a day grouped by topic, for draws in proportion to visibility."""

    available: NDArray[np.bool_]
    items: IntArray
    cumulative: FloatArray
    start: FloatArray
    total: FloatArray


class Market:
    """Plays the days in order; remembers each user's last items."""

    def __init__(self, seed: int, catalogue: Catalogue, population: Population) -> None:
        """Start before day 0, when nobody has seen anything."""
        self._seed = seed
        self._catalogue = catalogue
        self._people = population
        self._habits = catalogue.vocabulary.habits
        self._last = np.full(population.count, -1, dtype=np.int64)
        self._seen = np.full((population.count, _REMEMBERED), -1, dtype=np.int32)
        self._seen_next = np.zeros(population.count, dtype=np.int64)

    def play(self, day: int, weekday: int) -> DayEvents:
        """Events of `day`; days must be played in order. `weekday` is 0 for Monday."""
        shelf = self._shelf(day)
        parts = [self._bots(day, shelf)]
        shares = self._people.interest_shares(day)
        for block, start in enumerate(range(0, self._people.count, _BLOCK_USERS)):
            rng = stream(self._seed, "behaviour", day, block)
            users = np.arange(start, start + _BLOCK_USERS)
            rate = self._habits.sessions_per_day * _WEEKDAY[weekday]
            for part in range(len(PARTS_OF_DAY)):
                # Draw for the whole block, also for users still to come: a longer market has more of them.
                chance = rng.random(_BLOCK_USERS)
                here = users[users < self._people.count]
                expected = rate * self._people.activity[here] * self._people.part_of_day[here, part]
                is_here = (self._people.arrives[here] <= day) & ~self._people.is_bot[here]
                active = here[is_here & (chance[: len(here)] < 1 - np.exp(-expected))]
                parts.append(self._sessions(active, part, shares[active], shelf, rng))
        return _in_order_of_time(parts)

    def _shelf(self, day: int) -> _Shelf:
        catalogue = self._catalogue
        available = catalogue.is_available(day)
        age = np.maximum(day - catalogue.arrives, 0)
        # Items of day 0 are taken to be old.
        boost = np.where(catalogue.arrives > 0, np.exp(-age / self._habits.freshness_days), 0.0)
        visible = np.where(available, catalogue.popularity * (1 + self._habits.freshness_boost * boost), 0.0)
        order = np.flatnonzero(available)
        order = order[np.argsort(catalogue.topic[order], kind="stable")]
        cumulative = np.cumsum(visible[order])
        topics = np.arange(len(catalogue.vocabulary.topics))
        bounds = np.concatenate(([0.0], cumulative))
        low = bounds[np.searchsorted(catalogue.topic[order], topics, side="left")]
        high = bounds[np.searchsorted(catalogue.topic[order], topics, side="right")]
        return _Shelf(available, order, cumulative, low, high - low)

    def _sessions(
        self, users: IntArray, part: int, shares: FloatArray, shelf: _Shelf, rng: np.random.Generator
    ) -> DayEvents:
        """One session for each of `users`, who are distinct."""
        begin, end = PARTS_OF_DAY[part]
        clock = (3_600_000 * (begin + (end - begin) * rng.random(len(users)))).astype(np.int64)
        stop = 1 / self._habits.visits_per_session
        length = np.minimum(rng.geometric(stop, len(users)), _LONGEST_SESSION)
        depth = np.ones(len(users), dtype=np.int64)
        steps = []
        for step in range(int(length.max(initial=0))):
            rows = np.flatnonzero(length > step)
            chosen = self._choose(users[rows], step, depth[rows], shares[rows], shelf, rng)
            depth[rows] = self._depth(users[rows], chosen, rng)
            steps.append(_events_of_visits(users[rows], chosen, depth[rows], clock[rows], part, step == 0, rng))
            rest = np.clip(rng.exponential(70.0, len(rows)), 12, 300)
            clock[rows] += (1000 * rest).astype(np.int64) + 15_000 * depth[rows]
            self._remember(users[rows], chosen)
        return _in_order_of_time(steps)

    def _choose(
        self,
        users: IntArray,
        step: int,
        depth: IntArray,
        shares: FloatArray,
        shelf: _Shelf,
        rng: np.random.Generator,
    ) -> IntArray:
        """Next item of each session."""
        before = self._last[users]
        following = np.where(before >= 0, self._catalogue.successor[before], -1)
        # Somebody who only glanced at an item is half as likely to go on with its series.
        chance = np.where(depth > 0, 1.0, 0.5) * (self._habits.follow if step else self._habits.resume)
        follows = (rng.random(len(users)) < chance) & (following >= 0) & shelf.available[following]
        chosen = self._choose_freely(users, step, before, shares, shelf, rng)
        return np.where(follows, following, chosen)

    def _choose_freely(
        self,
        users: IntArray,
        step: int,
        before: IntArray,
        shares: FloatArray,
        shelf: _Shelf,
        rng: np.random.Generator,
    ) -> IntArray:
        catalogue, people = self._catalogue, self._people
        slot = (rng.random(len(users))[:, None] > np.cumsum(shares, axis=1)).sum(axis=1)
        anything = (rng.random(len(users)) * len(shelf.total)).astype(np.int64)
        own = np.take_along_axis(people.topics[users], np.minimum(slot, INTERESTS - 1)[:, None], axis=1)[:, 0]
        topic = np.where(slot < INTERESTS, own, anything)
        if step:
            topic = np.where(rng.random(len(users)) < self._habits.stay, catalogue.topic[before], topic)
        is_empty = shelf.total[topic] <= 0
        low = np.where(is_empty, 0.0, shelf.start[topic])
        width = np.where(is_empty, shelf.cumulative[-1], shelf.total[topic])
        points = low[:, None] + width[:, None] * rng.random((len(users), _OPTIONS))
        places = np.searchsorted(shelf.cumulative, points, side="right")
        options = shelf.items[np.minimum(places, len(shelf.items) - 1)]
        pull = np.cumsum(self._pull(users, options), axis=1)
        picked = (pull < (rng.random(len(users)) * pull[:, -1])[:, None]).sum(axis=1)
        chosen: IntArray = np.take_along_axis(options, np.minimum(picked, _OPTIONS - 1)[:, None], axis=1)[:, 0]
        return chosen

    def _pull(self, users: IntArray, options: IntArray) -> FloatArray:
        """How strongly each option draws each user; shape (users, options)."""
        catalogue, people = self._catalogue, self._people
        pull = np.where(catalogue.style[options] == people.style[users, None], _STYLE_PULL, 1.0)
        pull *= np.where(catalogue.community[options] == people.community[users, None], _COMMUNITY_PULL, 1.0)
        maker, favourites = catalogue.maker[options], people.favourites[users]
        is_favourite = np.zeros(options.shape, dtype=np.bool_)
        for slot in range(INTERESTS):
            is_favourite |= maker == favourites[:, slot, None]
        pull *= np.where(is_favourite, _FAVOURITE_PULL, 1.0)
        is_seen = np.zeros(options.shape, dtype=np.bool_)
        seen = self._seen[users]
        for place in range(_REMEMBERED):
            is_seen |= options == seen[:, place, None]
        return np.where(is_seen, _SEEN_PULL, 1.0) * pull

    def _depth(self, users: IntArray, items: IntArray, rng: np.random.Generator) -> IntArray:
        """Number of events after the view; items that suit the user's style and community go deeper."""
        catalogue, people = self._catalogue, self._people
        suits = (catalogue.style[items] == people.style[users]).astype(np.int64)
        suits += catalogue.community[items] == people.community[users]
        depth = np.zeros(len(users), dtype=np.int64)
        goes_on = np.ones(len(users), dtype=np.bool_)
        for chance in self._habits.funnel:
            goes_on &= rng.random(len(users)) < chance * (0.7 + 0.3 * suits)
            depth += goes_on
        return depth

    def _remember(self, users: IntArray, items: IntArray) -> None:
        self._last[users] = items
        self._seen[users, self._seen_next[users]] = items
        self._seen_next[users] = (self._seen_next[users] + 1) % _REMEMBERED

    def _bots(self, day: int, shelf: _Shelf) -> DayEvents:
        """Programs that view hundreds of items at random, all day long."""
        rng = stream(self._seed, "bots", day)
        bots = np.flatnonzero(self._people.is_bot)
        bots = bots[rng.random(len(bots)) < _BOT_IS_ACTIVE]
        user = np.repeat(bots, rng.integers(*_BOT_EVENTS, len(bots)))
        nothing = np.zeros(len(user), dtype=np.int64)
        return DayEvents(
            user=user,
            item=shelf.items[rng.integers(0, len(shelf.items), len(user))],
            kind=nothing,
            at_ms=rng.integers(0, 86_400_000, len(user)),
            part_of_day=nothing + 9,
            is_entry=nothing > 0,
            is_bot=nothing == 0,
        )


def _events_of_visits(
    users: IntArray,
    items: IntArray,
    depth: IntArray,
    clock: IntArray,
    part: int,
    is_entry: bool,
    rng: np.random.Generator,
) -> DayEvents:
    """A view and `depth` deeper events for each visit, 5 to 15 seconds apart."""
    row = np.repeat(np.arange(len(users)), depth + 1)
    kind = np.arange(len(row)) - np.repeat(np.cumsum(depth + 1) - (depth + 1), depth + 1)
    delay = kind * 10_000 + np.where(kind > 0, rng.integers(-3_000, 3_000, len(row)), 0)
    size = len(row)
    return DayEvents(
        user=users[row],
        item=items[row],
        kind=kind,
        at_ms=clock[row] + delay,
        part_of_day=np.full(size, part),
        is_entry=np.full(size, is_entry),
        is_bot=np.zeros(size, dtype=np.bool_),
    )


def _in_order_of_time(parts: list[DayEvents]) -> DayEvents:
    names = ("user", "item", "kind", "at_ms", "part_of_day", "is_entry", "is_bot")
    if not parts:
        empty = np.zeros(0, dtype=np.int64)
        return DayEvents(empty, empty, empty, empty, empty, empty > 0, empty > 0)
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    order = np.lexsort((columns["item"], columns["user"], columns["at_ms"]))
    return DayEvents(**{name: column[order] for name, column in columns.items()})
