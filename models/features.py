"""Features from the marts: histories, splits by time, popularity with decay."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from models.errors import DataError
from models.schema import TRAINING_INTERACTIONS, USER_HISTORIES

_TIME = "datetime64[us]"
_HISTORY: dict[str, Any] = {"item_ids": object, "weights": np.float32, "event_ats": _TIME}


@dataclass(frozen=True)
class SplitTimes:
    """Where the global temporal split cuts: train < `validation_from` <= validation < `test_from` <= test."""

    validation_from: datetime
    test_from: datetime


def split_times(interactions: pd.DataFrame, *, validation_share: float, test_share: float) -> SplitTimes:
    """Cut so that the last `test_share` of the interactions are test and the share before them validation.

    Shares count interactions, not days, so that a burst of activity does not leave a window empty; both cuts are
    at midnight UTC, so that no day is split.

    Args:
        interactions: Frame with `event_at`.
        validation_share: Share of interactions for validation.
        test_share: Share of interactions for test.

    Returns:
        Both cuts; with fewer than three distinct days both lie after the end, so that everything is training.

    Raises:
        DataError: there are no interactions.
    """
    days = np.sort(interactions["event_at"].to_numpy(dtype="datetime64[D]"))
    distinct = np.unique(days)
    if not len(distinct):
        raise DataError("there are no interactions to split; land events with `freshet load` first")
    if len(distinct) < 3:
        after = _midnight(distinct[-1] + 1)
        return SplitTimes(after, after)
    test_day = days[int((1 - test_share) * (len(days) - 1))]
    test_at = int(np.clip(np.searchsorted(distinct, test_day), 2, len(distinct) - 1))
    validation_day = days[int((1 - test_share - validation_share) * (len(days) - 1))]
    validation_at = int(np.clip(np.searchsorted(distinct, validation_day), 1, test_at - 1))
    return SplitTimes(_midnight(distinct[validation_at]), _midnight(distinct[test_at]))


def training_interactions(interactions: pd.DataFrame, times: SplitTimes) -> pd.DataFrame:
    """Order interactions within each user and say which split each belongs to.

    Args:
        interactions: Frame with `event_id, user_id, item_id, event_at, weight, source_order`.
        times: Where the split cuts.

    Returns:
        Frame with the columns of `features.training_interactions`, sorted by user and position.
    """
    ordered = in_order(interactions)
    at = ordered["event_at"]
    split = np.select(
        [at < pd.Timestamp(times.validation_from), at < pd.Timestamp(times.test_from)],
        ["train", "validation"],
        default="test",
    )
    return ordered.assign(split=split)[TRAINING_INTERACTIONS.column_names]


def in_order(interactions: pd.DataFrame) -> pd.DataFrame:
    """Sort interactions within each user by time, then source order, then id, and number them from 0.

    Args:
        interactions: Frame with `event_id, user_id, event_at, source_order`.

    Returns:
        The same rows, sorted, with the column `position`.
    """
    ordered = interactions.sort_values(["user_id", "event_at", "source_order", "event_id"], kind="stable")
    return ordered.assign(position=ordered.groupby("user_id", sort=False).cumcount())


def user_histories(interactions: pd.DataFrame, segments: pd.Series, *, length: int) -> pd.DataFrame:
    """The latest interactions of each user as lists, and the items that they hid.

    An item is hidden from a user while the latest that is known of the two is a hide; it is no part of the history.

    Args:
        interactions: Frame with `user_id, item_id, event_at, weight, position`; a weight below 0 hides the item.
        segments: Segment indexed by user id.
        length: Most interactions, and most hidden items, kept for a user.

    Returns:
        Frame with the columns of `features.user_histories`, sorted by user: those with an interaction and those with a
        hidden item. The latter alone have empty lists, and the time of the last hide.
    """
    ordered = interactions.sort_values(["user_id", "position"], kind="stable")
    is_hide = (ordered["weight"] < 0).to_numpy()
    histories = _latest(ordered[~is_hide], _HISTORY, length)
    histories["last_event_at"] = pd.Series([ats[-1] for ats in histories["event_ats"]], dtype=_TIME)
    hidden = (
        _hidden(ordered[ordered["user_id"].isin(ordered.loc[is_hide, "user_id"])]) if is_hide.any() else ordered[:0]
    )
    histories = _with_hidden(histories, _latest(hidden, {"item_ids": object, "event_ats": _TIME}, length))
    known = histories["user_id"].map(segments).astype(object)
    histories["segment"] = known.where(known.notna(), None)
    return histories[USER_HISTORIES.column_names]


def _latest(ordered: pd.DataFrame, kinds: dict[str, Any], length: int) -> pd.DataFrame:
    """The last rows of each user as lists, `user_id` and the plural of each column, from rows sorted by user."""
    kept = ordered.groupby("user_id", sort=False).tail(length)
    users = kept["user_id"].to_numpy(dtype=object)
    starts = np.flatnonzero(np.concatenate([[True], users[1:] != users[:-1]])) if len(users) else np.array([], int)
    values = {name: kept[name.removesuffix("s")].to_numpy(dtype=kind) for name, kind in kinds.items()}
    lists = {name: np.split(column, starts[1:]) if len(starts) else [] for name, column in values.items()}
    return pd.DataFrame({"user_id": users[starts], **lists})


def _hidden(ordered: pd.DataFrame) -> pd.DataFrame:
    """The hides that nothing has followed: the last row of user and item, where it is one."""
    last = ordered.drop_duplicates(["user_id", "item_id"], keep="last")
    return last[last["weight"] < 0]


def _with_hidden(histories: pd.DataFrame, hidden: pd.DataFrame) -> pd.DataFrame:
    """Histories with the column `hidden_item_ids`, and users who have nothing else, by user."""
    found = hidden.rename(columns={"item_ids": "hidden_item_ids", "event_ats": "hidden_ats"})
    merged = histories.merge(found, on="user_id", how="outer" if len(hidden) else "left", sort=True)
    is_new = merged["last_event_at"].isna()
    merged.loc[is_new, "last_event_at"] = [ats[-1] for ats in merged.loc[is_new, "hidden_ats"]]
    for name, kind in (_HISTORY | {"hidden_item_ids": object}).items():
        nothing = np.zeros(0, dtype=kind)
        lists = [nothing if isinstance(values, float) else values for values in merged[name]]
        merged[name] = pd.Series(lists, dtype=object)
    return merged


def _midnight(day: np.datetime64) -> datetime:
    return pd.Timestamp(day).to_pydatetime()
