import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.catalogue import Catalogue
from models.errors import DataError
from models.interactions import InteractionLog
from models.splitting import Holdout, Split, boundaries_of, leave_one_out, split_by_time, split_by_time_last

ITEMS = ["a", "b", "c", "d", "e"]


def make_log(rows: list[tuple[str, str, int]]) -> InteractionLog:
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "second"])
    frame["event_at"] = pd.to_datetime(frame["second"], unit="s")
    return InteractionLog.from_frame(frame.assign(weight=1.0, position=range(len(frame))), ITEMS)


def targets(holdout: Holdout) -> dict[str, list[str]]:
    """Target items by user."""
    start, items = holdout.targets.start, holdout.targets.item_rows
    return {
        holdout.history.user_ids[row]: [ITEMS[item] for item in items[start[i] : start[i + 1]]]
        for i, row in enumerate(holdout.user_rows)
    }


ROWS = [
    ("u1", "a", 1),
    ("u1", "b", 10),  # validation
    ("u1", "c", 20),  # test
    ("u1", "d", 21),  # test
    ("u1", "c", 22),  # test, repeated within the window
    ("u1", "a", 23),  # test, seen before
    ("u2", "e", 2),  # nothing in either window
    ("u3", "e", 25),  # new in the test window
]


def test_time_split_keeps_each_window_apart() -> None:
    split = split_by_time(make_log(ROWS), validation_from=10, test_from=20)
    assert targets(split.validation) == {"u1": ["b"]}
    assert targets(split.test) == {"u1": ["c", "d"]}
    assert targets(split.new_users) == {"u3": ["e"]}
    assert split.train.item_rows.tolist() == [0, 4]
    assert split.test.history.item_rows.tolist() == [0, 1, 4]


def test_seen_items_stay_targets_where_the_domain_repeats() -> None:
    split = split_by_time(make_log(ROWS), validation_from=10, test_from=20, exclude_seen=False)
    assert targets(split.test) == {"u1": ["c", "d", "a"]}


@pytest.mark.parametrize(("choice", "expected"), [("first", ["c"]), ("last", ["d"])])
def test_one_target_can_be_chosen(choice: str, expected: list[str]) -> None:
    split = split_by_time(make_log(ROWS), validation_from=10, test_from=20, choice=choice)
    assert targets(split.test) == {"u1": expected}


def test_boundaries_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(DataError, match="must not be later"):
        split_by_time(make_log(ROWS), validation_from=20, test_from=10)


def test_available_are_the_items_on_offer_at_the_boundary_and_all_where_there_is_none() -> None:
    ends = pd.to_datetime([5, 20, 21, None, None], unit="s")
    catalogue = Catalogue.from_frame(pd.DataFrame({"item_id": ITEMS, "available_until": ends}))
    by_time = split_by_time(make_log(ROWS), validation_from=10, test_from=20)
    assert by_time.test.available(catalogue).tolist() == [False, False, True, True, True]
    assert leave_one_out(make_log(ROWS)).test.available(catalogue).all()


def test_leave_one_out_takes_the_last_two() -> None:
    rows = [("u1", item, 7) for item in "abcd"] + [("u2", "a", 1), ("u2", "b", 2)]
    split = leave_one_out(make_log(rows))
    assert targets(split.validation) == {"u1": ["c"]}
    assert targets(split.test) == {"u1": ["d"]}
    assert split.train.item_rows.tolist() == [0, 1, 0, 1]
    assert split.test.history.item_rows.tolist() == [0, 1, 2, 0, 1]
    assert split.new_users.count == 0


def test_leave_one_out_leaves_out_a_repeated_target() -> None:
    rows = [("u1", "a", 1), ("u1", "b", 2), ("u1", "a", 3)]
    assert targets(leave_one_out(make_log(rows)).test) == {}
    assert targets(leave_one_out(make_log(rows), exclude_seen=False).test) == {"u1": ["a"]}


def test_last_targets_have_a_history_that_grows_within_the_window() -> None:
    """Ten events, so that the last lies behind the .9 quantile; then the ninth of the nine that are left."""
    rows = [("u1", "a", 1), ("u1", "b", 2), ("u2", "a", 3), ("u2", "c", 4), ("u3", "b", 5), ("u3", "d", 6)]
    rows += [("u1", "c", 7), ("u2", "d", 8), ("u3", "e", 9), ("u1", "d", 10)]
    split = split_by_time_last(make_log(rows))
    assert targets(split.test) == {"u1": ["d"]}
    assert targets(split.validation) == {"u3": ["e"]}
    assert split.train.event_ats.max() == 8
    assert split.refit.event_ats.max() == 9
    wide = split_by_time_last(make_log(rows), quantile=0.6)
    assert targets(wide.test) == {"u1": ["d"], "u2": ["d"], "u3": ["e"]}
    first = wide.test.histories().items[0]
    assert [ITEMS[row] for row in first[first >= 0]] == ["a", "b", "c"]
    assert wide.refit.event_ats.max() == 6


@pytest.mark.parametrize("quantile", [0.0, 1.0])
def test_a_quantile_outside_its_range_is_refused(quantile: float) -> None:
    with pytest.raises(DataError, match="between 0 and 1"):
        split_by_time_last(make_log([("u1", "a", 1)]), quantile=quantile)


def labelled(rows: list[tuple[int, str]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["second", "split"])
    return frame.assign(event_at=pd.to_datetime(frame["second"], unit="s"))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(5, "train"), (8, "validation"), (7, "validation"), (9, "test")], (7, 9)),
        ([(5, "train"), (9, "test")], (9, 9)),
        ([(5, "train"), (6, "train")], (7, 7)),
    ],
)
def test_boundaries_of_labelled_interactions(rows: list[tuple[int, str]], expected: tuple[int, int]) -> None:
    assert boundaries_of(labelled(rows)) == expected


def test_labels_that_overlap_in_time_are_refused() -> None:
    with pytest.raises(DataError, match="train has interactions after"):
        boundaries_of(labelled([(5, "train"), (9, "train"), (7, "validation")]))
    with pytest.raises(DataError, match="no interactions"):
        boundaries_of(labelled([]))


events = st.lists(
    st.tuples(st.sampled_from(["u1", "u2", "u3"]), st.sampled_from(ITEMS), st.integers(0, 50)), min_size=1, max_size=40
)


def pairs(log: InteractionLog) -> set[tuple[int, int]]:
    return set(zip(log.user_rows.tolist(), log.item_rows.tolist(), strict=True))


def target_pairs(holdout: Holdout) -> set[tuple[int, int]]:
    users = holdout.user_rows[holdout.targets.rows]
    return set(zip(users.tolist(), holdout.targets.item_rows.tolist(), strict=True))


def no_target_is_known(split: Split) -> bool:
    known = pairs(split.test.history)
    return not known & target_pairs(split.test) and not pairs(split.train) & target_pairs(split.validation)


@given(rows=events, first=st.integers(0, 50), second=st.integers(0, 50))
def test_time_split_never_leaks(rows: list[tuple[str, str, int]], first: int, second: int) -> None:
    log, (validation_from, test_from) = make_log(rows), sorted((first, second))
    split = split_by_time(log, validation_from=validation_from, test_from=test_from)
    assert (split.train.event_ats < validation_from).all()
    assert (split.test.history.event_ats < test_from).all()
    assert no_target_is_known(split)
    later = {(u, i) for u, i, t in zip(log.user_rows, log.item_rows, log.event_ats, strict=True) if t >= test_from}
    assert target_pairs(split.test) | target_pairs(split.new_users) == later - pairs(split.test.history)


@given(rows=events)
def test_leave_one_out_never_leaks_and_loses_nothing(rows: list[tuple[str, str, int]]) -> None:
    log = make_log(rows)
    split = leave_one_out(log, exclude_seen=False)
    assert split.test.count == split.validation.count == int((np.diff(log.start) >= 3).sum())
    assert len(split.train.item_rows) + 2 * split.test.count == len(log.item_rows)
    assert no_target_is_known(leave_one_out(log))
