"""A guard that refuses to evaluate on a split that leaks, whoever made it."""

import numpy as np

from models.catalogue import Catalogue
from models.errors import DataError
from models.interactions import IntArray, InteractionLog, LongArray
from models.splitting import Holdout, pair_codes


def check_no_leakage(
    train: InteractionLog, holdout: Holdout, *, catalogue: Catalogue | None = None, exclude_seen: bool = True
) -> None:
    """Check that the training log and the histories know nothing of the targets.

    Args:
        train: What the models were fitted on.
        holdout: What they are evaluated on.
        catalogue: If given, items of `train` that became available only in the window of the targets are leaks.
        exclude_seen: Targets may not stand in the user's own history; False where the domain repeats items.

    Raises:
        DataError: names the first offending user, item and time.
    """
    if train.item_count != holdout.history.item_count:
        raise DataError(f"train has {train.item_count} items, the holdout {holdout.history.item_count}; align them")
    _check_times(train, holdout.learn_before, "train")
    _check_times(holdout.history, holdout.boundary, "history")
    if catalogue is not None:
        _check_future_items(train, holdout, catalogue)
    if exclude_seen:
        _check_pairs(train, holdout, "train")
        _check_pairs(holdout.history, holdout, "history")


def _check_times(log: InteractionLog, boundary: int | None, name: str) -> None:
    if boundary is None or not len(log.event_ats):
        return
    late = np.flatnonzero(log.event_ats >= boundary)
    if len(late):
        user = log.user_ids[log.user_rows[late[0]]]
        raise DataError(
            f"leakage: {len(late)} interactions of {name} are not before the targets' window "
            f"({_words(boundary)}); the first is of user {user!r} at {_words(log.event_ats[late[0]])}"
        )


def _check_future_items(train: InteractionLog, holdout: Holdout, catalogue: Catalogue) -> None:
    if holdout.boundary is None:
        return
    future = np.flatnonzero(catalogue.available_from[train.item_rows] >= holdout.boundary)
    if len(future):
        item = catalogue.item_ids[train.item_rows[future[0]]]
        raise DataError(f"leakage: item {item!r} is in train but available only from the targets' window on")


def _check_pairs(log: InteractionLog, holdout: Holdout, name: str) -> None:
    rows = _rows_in(log, holdout)[holdout.targets.rows]
    targets = holdout.targets.item_rows
    codes: LongArray = np.where(rows >= 0, pair_codes(rows, targets, log.item_count), -1)
    leaked = np.flatnonzero(np.isin(codes, pair_codes(log.user_rows, log.item_rows, log.item_count)))
    if len(leaked):
        user = log.user_ids[rows[leaked[0]]]
        raise DataError(
            f"leakage: {len(leaked)} targets stand in {name} already; the first is item row "
            f"{targets[leaked[0]]} of user {user!r}"
        )


def _rows_in(log: InteractionLog, holdout: Holdout) -> LongArray | IntArray:
    """Rows in `log` of the evaluated users, -1 for users that it does not know; logs may number users apart."""
    evaluated = holdout.history.user_ids[holdout.user_rows]
    if not len(log.user_ids):
        return np.full(len(evaluated), -1, dtype=np.int64)
    order = np.argsort(log.user_ids, kind="stable")
    places = np.searchsorted(log.user_ids[order], evaluated).clip(max=len(order) - 1)
    rows: LongArray = order[places]
    return np.where(log.user_ids[rows] == evaluated, rows, -1)


def _words(seconds: int) -> str:
    return str(np.datetime64(int(seconds), "s"))
