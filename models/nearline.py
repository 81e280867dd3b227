"""One step of the nearline lane, without a clock, a store or a source: events and what is known → new lists.

The warehouse's rules look at whole days of a user (repeats, cancellations, bots), so an event reaches a history as
"the interactions of this user on this day are now these". The batch lane makes its lists with the same `ListMaker`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from models.features import in_order, user_histories
from models.history_frames import to_histories
from models.schema import Columns

if TYPE_CHECKING:
    from models.recommender import Recommender
    from models.reranking import RerankRules
    from models.vector_index import ItemIndex

INTERACTION_COLUMNS = ("event_id", "user_id", "item_id", "event_at", "event_day", "weight", "source_order")
"""What a history is made from; the columns of `marts.interactions` that count."""

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


@dataclass(frozen=True)
class UserState:
    """What is known of the touched users before the step."""

    interactions: pd.DataFrame
    """`INTERACTION_COLUMNS` of all their interactions, in any order."""

    segments: pd.Series
    """Segment by user id, of every user who has a list even without interactions."""


@dataclass(frozen=True)
class RebuiltDays:
    """Events since a position, after the rules of the warehouse."""

    user_days: pd.DataFrame
    """`user_id, event_day`: each day of a user that got events, once."""

    interactions: pd.DataFrame
    """`INTERACTION_COLUMNS` of all interactions on those days as they are now."""

    position: Position
    """Position after these events."""


@dataclass(frozen=True)
class Step:
    """What one step comes to."""

    interactions: pd.DataFrame
    """`INTERACTION_COLUMNS` of all interactions of the touched users."""

    histories: pd.DataFrame
    """Columns of `features.user_histories`, one row for each touched user who gets a list, by user id."""

    lists: pd.DataFrame
    """Their lists, as of `models.pipeline.recommend`."""

    gone: tuple[str, ...]
    """Touched users who get no list: no interaction of theirs counts, and nothing else is known of them."""

    position: Position


def advance(
    maker: ListMaker,
    state: UserState,
    days: RebuiltDays,
    *,
    users: Collection[str],
    history_length: int,
    as_of: int,
) -> Step:
    """Take events in: new histories and lists of the users whom they touch, nothing else.

    Doing it twice with the same events, or with more events of the same days first, changes nothing: a day of a user
    is replaced as a whole, so late, repeated and unordered events land where they belong.

    Args:
        maker: What lists are made with.
        state: What was known before; must cover every user of `days`.
        days: The days that got events.
        users: Whose lists are made: all users of `days`, and others who need a new list without an event.
        history_length: Most interactions of a user that are kept.
        as_of: Moment that the lists are for, seconds since 1970 UTC.
    """
    interactions = with_days_replaced(state.interactions, days)
    touched = sorted(users)
    histories = histories_of_users(interactions, state.segments, touched, length=history_length)
    return Step(
        interactions=interactions,
        histories=histories,
        lists=maker.lists(histories, as_of=as_of),
        gone=tuple(sorted(set(touched) - set(histories[Columns.user_id]))),
        position=days.position,
    )


def with_days_replaced(interactions: pd.DataFrame, days: RebuiltDays) -> pd.DataFrame:
    """Interactions with the rebuilt days of users in place of what these days held before."""
    keys = [Columns.user_id, Columns.event_day]
    rebuilt = pd.MultiIndex.from_frame(days.user_days[keys])
    is_kept = ~pd.MultiIndex.from_frame(interactions[keys]).isin(rebuilt)
    columns = list(INTERACTION_COLUMNS)
    parts = [part for part in (interactions.loc[is_kept, columns], days.interactions[columns]) if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else interactions.iloc[:0][columns]


def histories_of_users(
    interactions: pd.DataFrame, segments: pd.Series, user_ids: list[str], *, length: int
) -> pd.DataFrame:
    """Rows of `features.user_histories` for users, with empty lists for those known by their segment alone.

    Args:
        interactions: `INTERACTION_COLUMNS` of these users.
        segments: Segment by user id; being in it means that the user gets a list in any case.
        user_ids: The users, sorted.
        length: Most interactions kept for a user.
    """
    histories = user_histories(in_order(interactions), segments, length=length).set_index(Columns.user_id)
    known = [user for user in user_ids if user in histories.index or user in segments.index]
    found = histories.reindex(known)
    for name in ("item_ids", "weights", "event_ats"):
        found[name] = [[] if isinstance(values, float) else values for values in found[name]]
    segment = pd.Series(known, index=found.index, dtype=object).map(segments).astype(object)
    found[Columns.segment] = segment.where(segment.notna(), None)
    return found.reset_index()
