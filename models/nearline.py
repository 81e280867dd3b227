"""The step of all lanes, without a clock, a store or a source: events since a position and what is known → new lists.

The warehouse's rules look at whole days of a user (repeats, cancellations, bots), so an event reaches a history as
"the interactions of this user on this day are now these". The worker and the sensor's job take events in by `advance`;
the batch lane, whose warehouse has taken them in, makes all its lists by it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

import pandas as pd

from models.errors import DataError
from models.features import in_order, user_histories
from models.history_frames import to_histories
from models.schema import Columns

if TYPE_CHECKING:
    from models.recommender import Recommender
    from models.reranking import RerankRules
    from models.vector_index import ItemIndex

INTERACTION_COLUMNS = ("event_id", "user_id", "item_id", "event_at", "event_day", "weight", "source_order")
"""What a history is made from; what `marts.interactions` and `marts.hides` share. A weight below 0 hides the item."""

Position = Mapping[str, str]
"""How far each partition of a source was read, in the source's own terms."""


@dataclass(frozen=True)
class ListMaker:
    """What lists are made with, for any number of users."""

    recommender: "Recommender"
    index: "ItemIndex | None"
    rules: "RerankRules"
    top_k: int

    def lists(self, histories: pd.DataFrame, *, as_of: int) -> pd.DataFrame:
        """Lists of users, all of them encoded in one padded batch.

        Args:
            histories: Rows of `features.user_histories`; a user without interactions has empty lists.
            as_of: Moment that the lists are for, seconds since 1970 UTC.

        Returns:
            Frame as of `models.pipeline.recommend`.
        """
        from models.pipeline import recommend

        return recommend(
            self.recommender,
            self.index,
            to_histories(histories, self.recommender.catalogue),
            histories[Columns.user_id].to_numpy(dtype=object),
            self.rules,
            top_k=self.top_k,
            as_of=as_of,
        )


class State(Protocol):
    """What is known of users before the step."""

    def after(
        self, days: "RebuiltDays", user_ids: Sequence[str], *, history_length: int
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Interactions of the users with the days taken in, and the histories of those who get a list, by user id."""
        ...


@dataclass(frozen=True)
class UserState:
    """The nearline lane's: all interactions, from which histories are made anew."""

    interactions: pd.DataFrame
    """`INTERACTION_COLUMNS` of all their interactions, in any order."""

    segments: pd.Series
    """Segment by user id, of every user who has a list even without interactions."""

    def after(
        self, days: "RebuiltDays", user_ids: Sequence[str], *, history_length: int
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Each rebuilt day in place of what it held before."""
        interactions = with_days_replaced(self.interactions, days.user_days, days.interactions)
        return interactions, histories_of_users(interactions, self.segments, user_ids, length=history_length)


@dataclass(frozen=True)
class BuiltState:
    """The batch lane's: histories as it has built them, of all events that the warehouse has taken in."""

    histories: pd.DataFrame
    """Rows of `features.user_histories`, by user id; users known by their segment alone have empty lists."""

    def after(
        self, days: "RebuiltDays", user_ids: Sequence[str], *, history_length: int
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The histories as they are.

        Raises:
            DataError: there are events since; the warehouse takes those in.
        """
        if len(days.user_days):
            raise DataError(
                f"{len(days.user_days)} days of users have events that the warehouse has not built; build it first"
            )
        is_asked = self.histories[Columns.user_id].isin(user_ids)
        return no_interactions(), self.histories if is_asked.all() else self.histories[is_asked]


@dataclass(frozen=True)
class RebuiltDays:
    """Events since a position, after the rules of the warehouse."""

    user_days: pd.DataFrame
    """`user_id, event_day`: each day of a user that got events, once."""

    interactions: pd.DataFrame
    """`INTERACTION_COLUMNS` of all interactions on those days as they are now."""

    position: Position
    """Position after these events, of each partition among them."""

    @classmethod
    def none(cls) -> Self:
        """No events."""
        nothing = no_interactions()
        return cls(nothing[[Columns.user_id, Columns.event_day]], nothing, {})


@dataclass(frozen=True)
class Step:
    """What one step comes to."""

    interactions: pd.DataFrame
    """`INTERACTION_COLUMNS` of all interactions of the touched users, where the state has them."""

    histories: pd.DataFrame
    """Columns of `features.user_histories`, one row for each touched user who gets a list, by user id."""

    lists: pd.DataFrame
    """Their lists, as of `models.pipeline.recommend`."""

    gone: tuple[str, ...]
    """Touched users who get no list: no interaction of theirs counts, and nothing else is known of them."""

    position: Position
    """How far sources were read, of each partition that had events."""


def advance(
    maker: ListMaker,
    state: State,
    days: RebuiltDays,
    *,
    users: Collection[str],
    history_length: int,
    as_of: int,
) -> Step:
    """Take events in: new histories and lists of the users whom they touch, nothing else.

    Doing it twice with the same events, or with more events of the same days first, changes nothing: a day of a user
    is replaced as a whole, so late, repeated and unordered events land where they belong. The batch lane takes its
    events in with the warehouse and comes with none.

    Args:
        maker: What lists are made with.
        state: What was known before; must cover every user of `days`.
        days: The days that got events.
        users: Whose lists are made: all users of `days`, and others who need a new list without an event.
        history_length: Most interactions of a user that are kept.
        as_of: Moment that the lists are for, seconds since 1970 UTC.
    """
    touched = sorted(users)
    interactions, histories = state.after(days, touched, history_length=history_length)
    return Step(
        interactions=interactions,
        histories=histories,
        lists=maker.lists(histories, as_of=as_of),
        gone=tuple(sorted(set(touched) - set(histories[Columns.user_id]))),
        position=days.position,
    )


def no_interactions() -> pd.DataFrame:
    """`INTERACTION_COLUMNS` without rows."""
    kinds = {
        "event_at": "datetime64[us]",
        "event_day": "datetime64[us]",
        "weight": "float64",
        "source_order": "float64",
    }
    return pd.DataFrame({name: pd.Series(dtype=kinds.get(name, "object")) for name in INTERACTION_COLUMNS})


def with_days_replaced(interactions: pd.DataFrame, user_days: pd.DataFrame, rebuilt: pd.DataFrame) -> pd.DataFrame:
    """Interactions with the rebuilt days of users in place of what these days held before.

    Args:
        interactions: `INTERACTION_COLUMNS`.
        user_days: `user_id, event_day` of the days.
        rebuilt: `INTERACTION_COLUMNS` of all interactions on these days.
    """
    keys = [Columns.user_id, Columns.event_day]
    replaced = pd.MultiIndex.from_frame(user_days[keys])
    is_kept = ~pd.MultiIndex.from_frame(interactions[keys]).isin(replaced)
    columns = list(INTERACTION_COLUMNS)
    parts = [part for part in (interactions.loc[is_kept, columns], rebuilt[columns]) if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else interactions.iloc[:0][columns]


def histories_of_users(
    interactions: pd.DataFrame, segments: pd.Series, user_ids: Sequence[str], *, length: int
) -> pd.DataFrame:
    """Rows of `features.user_histories` for users, with empty lists for those known by their segment alone.

    Who is known by hidden items alone gets no list.

    Args:
        interactions: `INTERACTION_COLUMNS` of these users.
        segments: Segment by user id; being in it means that the user gets a list in any case.
        user_ids: The users, sorted.
        length: Most interactions kept for a user.
    """
    histories = user_histories(in_order(interactions), segments, length=length).set_index(Columns.user_id)
    active = set(histories.index[histories["item_ids"].map(len) > 0])
    known = [user for user in user_ids if user in active or user in segments.index]
    found = histories.reindex(known)
    for name in ("item_ids", "weights", "event_ats", "hidden_item_ids"):
        found[name] = [[] if isinstance(values, float) else values for values in found[name]]
    segment = pd.Series(known, index=found.index, dtype=object).map(segments).astype(object)
    found[Columns.segment] = segment.where(segment.notna(), None)
    return found.reset_index()
