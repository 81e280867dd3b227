from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.errors import DataError
from models.interactions import InteractionLog
from models.leakage import check_no_leakage
from models.splitting import Split, leave_one_out, split_by_time, split_by_time_last

ITEMS = ["a", "b", "c", "d"]
ROWS = [("u1", "a", 1), ("u1", "b", 2), ("u1", "d", 9), ("u2", "a", 3), ("u2", "c", 4), ("u2", "b", 8)]


def make_log(rows: list[tuple[str, str, int]]) -> InteractionLog:
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "second"])
    frame["event_at"] = pd.to_datetime(frame["second"], unit="s")
    return InteractionLog.from_frame(frame.assign(weight=1.0), ITEMS)


def split() -> Split:
    return split_by_time(make_log(ROWS), validation_from=5, test_from=7)


def test_our_own_splits_pass() -> None:
    check_no_leakage(split().train, split().test)
    by_order = leave_one_out(make_log(ROWS))
    check_no_leakage(by_order.train, by_order.test)


def test_an_interaction_of_the_window_in_train_is_found() -> None:
    train = make_log([*ROWS[:2], ("u3", "d", 9)])
    with pytest.raises(DataError, match=r"1 interactions of train .* user 'u3' at 1970-01-01T00:00:09"):
        check_no_leakage(train, split().test)


def test_a_future_only_item_in_train_is_found() -> None:
    items = pd.DataFrame({"item_id": ITEMS, "available_from": pd.to_datetime([None, None, None, 7], unit="s")})
    train = make_log([*ROWS[:2], ("u3", "d", 4)])
    with pytest.raises(DataError, match="item 'd' is in train"):
        check_no_leakage(train, split().test, catalogue=Catalogue.from_frame(items))


def test_a_test_pair_copied_into_train_is_found() -> None:
    train = make_log([*ROWS[:2], ("u2", "b", 3)])  # its users are numbered otherwise than the holdout's
    with pytest.raises(DataError, match=r"1 targets stand in train already.*user 'u2'"):
        check_no_leakage(train, split().test)
    check_no_leakage(train, split().test, exclude_seen=False)


def test_a_target_in_the_history_is_found() -> None:
    test = split().test
    history = make_log([("u1", "a", 1), ("u1", "d", 2), ("u2", "a", 3), ("u2", "c", 4)])
    with pytest.raises(DataError, match="stand in history"):
        check_no_leakage(make_log(ROWS[:2]), replace(test, history=history))


def test_differently_numbered_items_are_refused() -> None:
    train = replace(split().train, item_count=3, item_rows=np.zeros_like(split().train.item_rows))
    with pytest.raises(DataError, match="train has 3 items"):
        check_no_leakage(train, split().test)


def test_what_may_not_be_learned_from_is_found_where_histories_grow() -> None:
    log = make_log([("u1", "a", 1), ("u1", "b", 2), ("u2", "a", 3), ("u1", "d", 8), ("u2", "c", 9), ("u1", "c", 10)])
    split = split_by_time_last(log, quantile=0.5)
    check_no_leakage(split.train, split.test)
    with pytest.raises(DataError, match="1 interactions of train are not before the targets' window"):
        check_no_leakage(split.test.history, split.test)
