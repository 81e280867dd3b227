"""Hot state of the nearline lane: interactions and recent raw events of users, within a budget of bytes.

Users who were not heard of for longest are forgotten first; what is missing is read back from the lake.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from assets.lake import Lake
from assets.user_reading import built_until, built_users, events_of_days, everybody, later_days
from assets.warehouse_sql import EVENT_COLUMNS, InteractionRules
from models.nearline import INTERACTION_COLUMNS, Step, UserState, with_days_replaced

USER_BYTES = 1_000
INTERACTION_BYTES = 160
EVENT_BYTES = 300
"""Measured upper bounds of what a user, an interaction and a raw event take in memory."""
WARM_SHARE = 0.9
"""Share of the budget that is filled ahead of events; the rest is for what these bring."""
WARM_USERS = 5_000
"""Users who are read at once ahead of their events."""

Columns = Mapping[str, npt.NDArray[Any]]

_KEYS = ["user_id", "event_day"]
_NOBODY = pd.DataFrame({"user_id": pd.Series(dtype=object), "segment": pd.Series(dtype=object)})
NO_DAYS = pd.DataFrame({"user_id": pd.Series(dtype=object), "event_day": pd.Series(dtype="datetime64[us]")})


@dataclass(frozen=True)
class _User:
    interactions: Columns
    days: Mapping[Any, Columns]
    """Raw events by day, of the days that were needed so far."""
    is_known: bool
    """Whether the user has a list even without interactions."""
    segment: str | None

    @property
    def bytes(self) -> int:
        events = sum(len(day["event_id"]) for day in self.days.values())
        return USER_BYTES + INTERACTION_BYTES * len(self.interactions["event_id"]) + EVENT_BYTES * events


class UserStates:
    """What is known of users, hot or read back."""

    def __init__(self, lake: Lake, rules: InteractionRules, *, budget_bytes: int) -> None:
        """Begin with nothing hot.

        Args:
            lake: Where missing state is read.
            rules: From raw events to interactions.
            budget_bytes: Beyond it users are forgotten; those of one batch are always kept until it ends.
        """
        self._lake = lake
        self._rules = rules
        self._budget = budget_bytes
        self._users: OrderedDict[str, _User] = OrderedDict()
        self._to_warm: list[str] | None = None
        """Users to be read ahead of their events, the most recent ones last; None: not asked for yet."""
        self._in_lake: set[str] | None = None
        """Users of whom the lake knows something and this does not; None: that was not asked for yet."""
        self._built_until: date | None = None
        """Last day with events that the warehouse had built at first; of later days hot users lack no event."""
        self.bytes = 0
        """Bytes that the hot users take, as estimated."""
        self.hits = self.misses = 0

    def __len__(self) -> int:
        return len(self._users)

    def load(self, pairs: pd.DataFrame, *, user_ids: Collection[str] = (), snapshot: int) -> None:
        """Make users and their days hot.

        Args:
            pairs: `user_id, event_day`, each once.
            user_ids: Users who are needed without a new event.
            snapshot: State of the lake to read.
        """
        users = {*pairs["user_id"], *user_ids}
        missing = sorted(user for user in users if user not in self._users)
        self.misses += len(missing)
        self.hits += len(users) - len(missing)
        self._know_built(snapshot)
        days = pairs[np.array([not self._has_day(user, day) for user, day in _rows(pairs)], dtype=bool)]
        if len(days) or missing:
            self._read(missing, days, snapshot)

    def warm(self, *, snapshot: int) -> bool:
        """Read some users ahead of their events, those who were active last first, while the budget holds them.

        Args:
            snapshot: State of the lake to read.

        Returns:
            Whether more are to be read.
        """
        if self._to_warm is None:
            found = everybody(self._lake, snapshot)
            total = (USER_BYTES + INTERACTION_BYTES * found["interactions"]).cumsum()
            self._to_warm = found["user_id"][total <= WARM_SHARE * self._budget].tolist()[::-1]
            self._in_lake = set(found["user_id"]) - set(self._users)
        taken = [self._to_warm.pop() for _ in range(min(WARM_USERS, len(self._to_warm)))]
        missing = [user for user in taken if user not in self._users]
        if missing and self.bytes < WARM_SHARE * self._budget:
            self._read(missing, NO_DAYS, snapshot)
            for user in missing:
                # Older than all that are hot already, and the first to be forgotten.
                self._users.move_to_end(user, last=False)
        return bool(self._to_warm)

    def state(self, user_ids: Iterable[str]) -> UserState:
        """What is known of hot users."""
        chosen = {user: self._users[user] for user in user_ids}
        segments = {user: hot.segment for user, hot in chosen.items() if hot.is_known}
        frame = _joined([hot.interactions for hot in chosen.values()], INTERACTION_COLUMNS)
        return UserState(frame, pd.Series(segments, dtype=object))

    def events(self, pairs: pd.DataFrame) -> pd.DataFrame:
        """Raw events of hot days."""
        nothing = _empty(EVENT_COLUMNS)
        return _joined([self._users[user].days.get(day, nothing) for user, day in _rows(pairs)], EVENT_COLUMNS)

    def event_ids(self, pairs: pd.DataFrame) -> set[str]:
        """Ids of the raw events of hot days."""
        days = (self._users[user].days.get(day) for user, day in _rows(pairs))
        return {event for events in days if events is not None for event in events["event_id"].tolist()}

    def put(self, step: Step, pairs: pd.DataFrame, events: pd.DataFrame) -> None:
        """Take over what a committed step made.

        Args:
            step: The step.
            pairs: Days of users that got events.
            events: All raw events of these days.
        """
        interactions = dict(_by_user(step.interactions))
        for user in {*interactions, *pairs["user_id"]}:
            old = self._users[user]
            self._replace(user, interactions.get(user, _empty(INTERACTION_COLUMNS)), old.days, old)
        self._add_days(pairs, events)

    def shrink(self) -> None:
        """Forget users until the budget holds, those whose last batch is longest ago first."""
        while self.bytes > self._budget and self._users:
            user, oldest = self._users.popitem(last=False)
            self.bytes -= oldest.bytes
            self._not_hot(user)

    def forget(self, user_ids: Collection[str] | None = None) -> None:
        """Drop users, or all, because someone else changed what the lake says of them."""
        if user_ids is None:
            self._to_warm = self._in_lake = self._built_until = None
        for user in list(self._users) if user_ids is None else user_ids:
            hot = self._users.pop(user, None)
            self.bytes -= hot.bytes if hot else 0
            self._not_hot(user)

    def _not_hot(self, user: str) -> None:
        if self._in_lake is not None:
            self._in_lake.add(user)

    def _read(self, missing: list[str], days: pd.DataFrame, snapshot: int) -> None:
        """Make users hot who are not, and days of users."""
        if self._in_lake is not None:
            strangers = [user for user in missing if user not in self._in_lake]
            self._add_missing(strangers, _joined([], INTERACTION_COLUMNS), _NOBODY)
            missing = [user for user in missing if user in self._in_lake]
            days = days[~days["user_id"].isin(strangers)]
            if not missing and not len(days):
                return
        built = self._know_built(snapshot)
        with self._lake.connect(snapshot=snapshot) as connection:
            # What the warehouse has built since is no longer pending, and `_has_day` asks for no day so late.
            pending = later_days(connection, built)
            of_missing = pd.MultiIndex.from_product([missing, pending], names=_KEYS).to_frame(index=False)
            wanted = pd.concat([days.astype({"event_day": "datetime64[us]"}), of_missing]).drop_duplicates()
            events = events_of_days(connection, wanted)
            marts, known = built_users(connection, missing)
        rebuilt = self._rules.interactions(events[events["user_id"].isin(missing)])
        interactions = with_days_replaced(marts, wanted, rebuilt)
        self._add_missing(missing, interactions, known)
        self._add_days(wanted, events)
        if self._in_lake is not None:
            self._in_lake.difference_update(missing)

    def _know_built(self, snapshot: int) -> date:
        """The last day that the warehouse had built when it was first asked for."""
        if self._built_until is None:
            self._built_until = built_until(self._lake, snapshot)
        return self._built_until

    def _has_day(self, user: str, day: Any) -> bool:
        """Whether nothing of a day is to be read for a user who is hot, or will be together with the pending days."""
        assert self._built_until is not None
        return day > self._built_until or (user in self._users and day in self._users[user].days)

    def _add_missing(self, missing: list[str], interactions: pd.DataFrame, known: pd.DataFrame) -> None:
        by_user = dict(_by_user(interactions))
        segments = dict(zip(known["user_id"], known["segment"], strict=True))
        for user in missing:
            segment = segments.get(user)
            hot = _User(
                by_user.get(user, _empty(INTERACTION_COLUMNS)),
                {},
                user in segments,
                segment if isinstance(segment, str) else None,
            )
            self._users[user] = hot
            self.bytes += hot.bytes

    def _add_days(self, pairs: pd.DataFrame, events: pd.DataFrame) -> None:
        by_pair = dict(_by_pair(events))
        fresh: dict[str, dict[Any, Columns]] = {}
        for user, day in _rows(pairs):
            fresh.setdefault(user, {})[day] = by_pair.get((user, day), _empty(EVENT_COLUMNS))
        for user, days in fresh.items():
            old = self._users[user]
            self._replace(user, old.interactions, {**old.days, **days}, old)

    def _replace(self, user: str, interactions: Columns, days: Mapping[Any, Columns], old: _User) -> None:
        hot = _User(interactions, days, old.is_known, old.segment)
        self._users[user] = hot
        self._users.move_to_end(user)
        self.bytes += hot.bytes - old.bytes


def _rows(pairs: pd.DataFrame) -> Iterator[tuple[str, Any]]:
    return zip(pairs["user_id"].tolist(), pairs["event_day"].to_numpy(dtype="datetime64[D]").tolist(), strict=True)


def _by_user(frame: pd.DataFrame) -> Iterator[tuple[str, Columns]]:
    ordered = frame.sort_values("user_id", kind="stable")
    users = ordered["user_id"].to_numpy(dtype=object)
    cuts = _cuts(users[1:] != users[:-1], len(users))
    return zip(users[cuts[:-1]].tolist(), _split(ordered, cuts), strict=True)


def _by_pair(frame: pd.DataFrame) -> Iterator[tuple[tuple[str, Any], Columns]]:
    ordered = frame.sort_values(_KEYS, kind="stable")
    users = ordered["user_id"].to_numpy(dtype=object)
    days = ordered["event_day"].to_numpy(dtype="datetime64[D]")
    cuts = _cuts((users[1:] != users[:-1]) | (days[1:] != days[:-1]), len(users))
    keys = zip(users[cuts[:-1]].tolist(), days[cuts[:-1]].tolist(), strict=True)
    return zip(keys, _split(ordered, cuts), strict=True)


def _cuts(changes: npt.NDArray[np.bool_], count: int) -> npt.NDArray[np.int64]:
    """Where runs of equal keys begin, and the end; shape (runs + 1,)."""
    starts = np.flatnonzero(changes) + 1
    return np.concatenate([[0], starts, [count]]).astype(np.int64) if count else np.zeros(1, dtype=np.int64)


def _split(frame: pd.DataFrame, cuts: npt.NDArray[np.int64]) -> Iterator[Columns]:
    columns = {name: _plain(frame[name]) for name in frame.columns}
    for begin, end in pairwise(cuts):
        # Copies, since a view would keep the columns of the whole batch alive.
        yield {name: values[begin:end].copy() for name, values in columns.items()}


def _plain(values: "pd.Series[Any]") -> npt.NDArray[Any]:
    kind = _kind(str(values.name))
    return values.to_numpy(dtype=kind, na_value=np.nan) if kind is np.float64 else values.to_numpy(dtype=kind)


def _kind(name: str) -> Any:
    if name in ("event_at", "event_day"):
        return "datetime64[us]"
    return np.float64 if name in ("weight", "value", "source_order") else object


def _empty(names: Collection[str]) -> Columns:
    return {name: np.empty(0, dtype=_kind(name)) for name in names}


def _joined(parts: list[Columns], names: Collection[str]) -> pd.DataFrame:
    columns = [_empty(names), *parts]
    joined = {name: np.concatenate([part[name] for part in columns]) for name in names}
    frame = pd.DataFrame({name: pd.Series(values, dtype=values.dtype) for name, values in joined.items()})
    return frame.assign(source_order=frame["source_order"].astype("Int64"))
