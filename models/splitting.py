"""Splits of an interaction log that cannot leak: by time (the product's own) and two that papers use.

A split by time asks what the product asks: given all that happened before a moment, what comes after it?
With the last target only, a user's history grows on within the window while the models stay as they are.
Leave-one-out lets the models see interactions of other users that lie in the future of a target, so its figures are
for comparison with published ones only.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from models.catalogue import Catalogue
from models.errors import DataError
from models.interactions import BoolArray, Histories, IntArray, InteractionLog, LongArray, to_seconds
from models.schema import Columns

TargetChoice = Literal["all", "first", "last"]


@dataclass(frozen=True)
class Targets:
    """Relevant items by evaluated user: those of user `i` are `item_rows[start[i]:start[i + 1]]`, each once."""

    start: LongArray
    item_rows: IntArray

    @property
    def count(self) -> int:
        """Number of evaluated users."""
        return len(self.start) - 1

    @property
    def lengths(self) -> LongArray:
        """Number of relevant items of each evaluated user."""
        return np.diff(self.start)

    @property
    def rows(self) -> LongArray:
        """Evaluated user (0-based) of each entry of `item_rows`."""
        return np.repeat(np.arange(self.count, dtype=np.int64), self.lengths)

    def select(self, users: LongArray) -> "Targets":
        """The targets of the given users (0-based), in the order given."""
        lengths = self.lengths[users]
        start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        within = np.arange(int(start[-1])) - np.repeat(start[:-1], lengths)
        return Targets(start, self.item_rows[np.repeat(self.start[users], lengths) + within])


@dataclass(frozen=True)
class Holdout:
    """What must be predicted, and what may be known for it."""

    history: InteractionLog
    """Everything before the targets. Users without any interaction here are new."""
    user_rows: IntArray
    """Evaluated users, as rows of `history.user_ids`, ascending."""
    targets: Targets
    """Relevant items, aligned with `user_rows`."""
    boundary: int | None = None
    """First second of the window of the targets; None where each user's target has its own moment."""
    learn_before: int | None = None
    """First second that no model may have learned from; None for leave-one-out, which has no such moment."""

    @property
    def count(self) -> int:
        """Number of evaluated users."""
        return len(self.user_rows)

    def histories(self, *, length: int = 200) -> Histories:
        """Histories of the evaluated users, in the order of `user_rows`."""
        return self.history.histories(self.user_rows, length=length)

    def available(self, catalogue: Catalogue) -> BoolArray:
        """Items that may be recommended at the boundary, shape (items,); all where there is none."""
        if self.boundary is None:
            return np.ones(catalogue.count, dtype=bool)
        return catalogue.available_at(self.boundary)

    def select(self, users: LongArray) -> "Holdout":
        """The holdout of some of its evaluated users (0-based), ascending; the history stays whole."""
        return replace(self, user_rows=self.user_rows[users], targets=self.targets.select(users))

    def sample(self, count: int, *, seed: int) -> "Holdout":
        """The holdout of `count` of its evaluated users, drawn at random; itself where there are no more."""
        if self.count <= count:
            return self
        return self.select(np.sort(np.random.default_rng(seed).choice(self.count, count, replace=False)))


@dataclass(frozen=True)
class Split:
    """Training interactions and the two holdouts. All logs number the users alike."""

    train: InteractionLog
    validation: Holdout
    test: Holdout
    new_users: Holdout
    """Users of the test window without any earlier interaction; empty for leave-one-out."""
    refit: InteractionLog
    """What a model may learn from before the test, once its settings are chosen: train and validation."""


def boundaries_of(interactions: pd.DataFrame) -> tuple[int, int]:
    """Where validation and test begin in interactions that carry their `split` (see `models.features.split_times`).

    Args:
        interactions: Frame with `event_at` and `split`.

    Returns:
        `(validation_from, test_from)` in seconds since 1970 UTC; a window without interactions begins where the next
        one does, the test at the earliest one second after the last event.

    Raises:
        DataError: there are no interactions, or the splits overlap in time.
    """
    if interactions.empty:
        raise DataError("there are no interactions to split; land events with `freshet load` first")
    seconds = pd.Series(to_seconds(interactions[Columns.event_at]), index=interactions.index)
    first, last = (seconds.groupby(interactions[Columns.split]).agg(edge) for edge in ("min", "max"))
    test_from = int(first.get("test", int(seconds.max()) + 1))
    validation_from = int(first.get("validation", test_from))
    for earlier, boundary in (("train", validation_from), ("validation", test_from)):
        if earlier in last.index and last[earlier] >= boundary:
            raise DataError(f"column 'split' is not by time: {earlier} has interactions after the next window began")
    return validation_from, test_from


def split_by_time(
    log: InteractionLog,
    *,
    validation_from: int,
    test_from: int,
    choice: TargetChoice = "all",
    exclude_seen: bool = True,
) -> Split:
    """Split at two moments for all users at once.

    Train is everything before `validation_from`. Users with a history before the window and at least one target in
    it are evaluated; users of the test window without a history come back as `new_users`.

    Args:
        log: Interactions of all users.
        validation_from: First second of validation.
        test_from: First second of the test.
        choice: All items of the window are targets, or only each user's first or last.
        exclude_seen: Leave out targets that the user had before the window, since they would not be recommended.

    Raises:
        DataError: the boundaries are in the wrong order.
    """
    if validation_from > test_from:
        raise DataError(f"validation_from ({validation_from}) must not be later than test_from ({test_from})")
    before_validation = log.event_ats < validation_from
    before_test = log.event_ats < test_from
    train, history = log.select(before_validation), log.select(before_test)
    window = before_test & ~before_validation
    validation, _ = _holdouts(log, train, window, validation_from, choice, exclude_seen)
    test, new_users = _holdouts(log, history, ~before_test, test_from, choice, exclude_seen)
    return Split(train, validation, test, new_users, refit=history)


def split_by_time_last(log: InteractionLog, *, quantile: float = 0.9, exclude_seen: bool = True) -> Split:
    """Global temporal split whose targets are each user's last interaction (Gusak et al. 2025, "Time to Split").

    Models learn from what happened up to a moment, the `quantile` of all times; users with an interaction after it
    are evaluated on their last one, and their history is all that they did before it, also after that moment.
    Validation is the same within the part before: its moment is the `quantile` of the times of that part.

    Args:
        log: Interactions of all users.
        quantile: Share of the interactions before the window of the targets.
        exclude_seen: Leave out users whose target already stands in their history.

    Raises:
        DataError: the quantile is not between 0 and 1, or there are no interactions.
    """
    if not 0 < quantile < 1:
        raise DataError(f"quantile must lie between 0 and 1, not {quantile}")
    if not len(log.event_ats):
        raise DataError("there are no interactions to split; land events with `freshet load` first")
    test_from = int(np.quantile(log.event_ats, quantile)) + 1
    before_test = log.select(log.event_ats < test_from)
    validation_from = int(np.quantile(before_test.event_ats, quantile)) + 1
    test, new_users = _last_holdouts(log, test_from, exclude_seen)
    validation, _ = _last_holdouts(before_test, validation_from, exclude_seen)
    train = before_test.select(before_test.event_ats < validation_from)
    return Split(train, validation, test, new_users, refit=before_test)


def leave_one_out(log: InteractionLog, *, exclude_seen: bool = True) -> Split:
    """Test on each user's last interaction and validate on the last but one.

    Users with fewer than three interactions stay in train whole. The history of the test holds the validation
    interaction. Order within equal times is that of the log (its `position`).

    Args:
        log: Interactions of all users.
        exclude_seen: Leave out users whose target already stands in their history.
    """
    lengths = np.diff(log.start)
    from_end = np.repeat(log.start[1:], lengths) - 1 - np.arange(len(log.item_rows))
    is_long = np.repeat(lengths >= 3, lengths)
    is_test, is_validation = is_long & (from_end == 0), is_long & (from_end == 1)
    train, history = log.select(~(is_test | is_validation)), log.select(~is_test)
    validation, _ = _holdouts(log, train, is_validation, None, "all", exclude_seen)
    test, new_users = _holdouts(log, history, is_test, None, "all", exclude_seen)
    return Split(train, validation, test, new_users, refit=history)


def _last_holdouts(log: InteractionLog, begin: int, exclude_seen: bool) -> tuple[Holdout, Holdout]:
    """Each user's last interaction, where it lies at or after `begin`; users with and without a history."""
    lengths = np.diff(log.start)
    is_last = np.zeros(len(log.item_rows), dtype=bool)
    is_last[log.start[1:][lengths > 0] - 1] = True
    is_target = is_last & (log.event_ats >= begin)
    known, new = _holdouts(log, log.select(~is_target), is_target, None, "all", exclude_seen)
    return replace(known, learn_before=begin), replace(new, learn_before=begin)


def _holdouts(
    log: InteractionLog,
    history: InteractionLog,
    window: BoolArray,
    boundary: int | None,
    choice: TargetChoice,
    exclude_seen: bool,
) -> tuple[Holdout, Holdout]:
    """Holdouts of the users with and without history; `window` marks the interactions that may be targets."""
    users, items = _targets(log, history, window, choice, exclude_seen)
    has_history = np.diff(history.start)[users] > 0
    return (
        _holdout(history, users[has_history], items[has_history], boundary),
        _holdout(history, users[~has_history], items[~has_history], boundary),
    )


def _targets(
    log: InteractionLog, history: InteractionLog, window: BoolArray, choice: TargetChoice, exclude_seen: bool
) -> tuple[IntArray, IntArray]:
    """User row and item row of every target, by user and time, each pair once."""
    users, items = log.user_rows[window], log.item_rows[window]
    codes = pair_codes(users, items, log.item_count)
    _, first_index = np.unique(codes, return_index=True)
    keep = np.zeros(len(codes), dtype=bool)
    keep[first_index] = True
    if exclude_seen:
        keep &= ~np.isin(codes, pair_codes(history.user_rows, history.item_rows, log.item_count))
    users, items = users[keep], items[keep]
    if choice != "all" and len(users):
        changes = users[1:] != users[:-1]
        edge = np.concatenate([[True], changes]) if choice == "first" else np.concatenate([changes, [True]])
        users, items = users[edge], items[edge]
    return users, items


def _holdout(history: InteractionLog, users: IntArray, items: IntArray, boundary: int | None) -> Holdout:
    user_rows, counts = np.unique(users, return_counts=True)
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    targets = Targets(start, items.astype(np.int32))
    return Holdout(history, user_rows.astype(np.int32), targets, boundary, learn_before=boundary)


def pair_codes(users: IntArray | LongArray, items: IntArray, item_count: int) -> LongArray:
    """One whole number for each (user, item) pair."""
    return np.asarray(users, dtype=np.int64) * max(item_count, 1) + items
