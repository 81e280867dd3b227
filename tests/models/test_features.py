from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from models.errors import DataError
from models.features import in_order, split_times, training_interactions, user_histories


def _interactions(days: list[int], users: str = "") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "event_id": [f"e{i}" for i in range(len(days))],
            "user_id": list(users or "u" * len(days)),
            "item_id": [f"i{i}" for i in range(len(days))],
            "event_at": pd.to_datetime([f"2026-01-{day:02d}" for day in days]),
            "weight": np.ones(len(days)),
            "source_order": range(len(days)),
        }
    )


def test_shares_count_interactions_and_cut_at_midnight() -> None:
    times = split_times(_interactions([1] * 5 + [2] * 3 + [8] + [9]), validation_share=0.2, test_share=0.1)
    assert times.validation_from == datetime(2026, 1, 2)
    assert times.test_from == datetime(2026, 1, 8)


def test_every_split_has_a_day_even_when_one_day_has_nearly_all() -> None:
    frame = _interactions([1] + [2] * 50 + [3])
    split = training_interactions(frame, split_times(frame, validation_share=0.1, test_share=0.1))["split"]
    assert split.value_counts().to_dict() == {"validation": 50, "train": 1, "test": 1}


def test_two_days_are_all_training() -> None:
    frame = _interactions([1, 2])
    split = training_interactions(frame, split_times(frame, validation_share=0.1, test_share=0.1))["split"]
    assert set(split) == {"train"}


def test_no_interactions_cannot_be_split() -> None:
    with pytest.raises(DataError, match="no interactions"):
        split_times(_interactions([]), validation_share=0.1, test_share=0.1)


def test_training_ends_before_validation_and_validation_before_test() -> None:
    rng = np.random.default_rng(3)
    frame = _interactions(sorted(rng.integers(1, 28, 200)), users="".join(rng.choice(list("abc"), 200)))
    rows = training_interactions(frame, split_times(frame, validation_share=0.1, test_share=0.1))
    spans = rows.groupby("split")["event_at"].agg(["min", "max"])
    assert spans.loc["train", "max"] < spans.loc["validation", "min"]
    assert spans.loc["validation", "max"] < spans.loc["test", "min"]


def test_source_order_breaks_ties_of_time() -> None:
    frame = _interactions([1, 1, 1]).assign(source_order=[2, 0, 1])
    assert in_order(frame)["item_id"].tolist() == ["i1", "i2", "i0"]


def test_histories_keep_the_latest_in_order() -> None:
    ordered = in_order(_interactions([1, 2, 3, 4], users="abaa"))
    histories = user_histories(ordered, pd.Series({"a": "young"}), length=2)
    assert histories["user_id"].tolist() == ["a", "b"]
    assert [list(ids) for ids in histories["item_ids"]] == [["i2", "i3"], ["i1"]]
    assert histories["segment"].tolist() == ["young", None]
    assert histories["last_event_at"].tolist() == [pd.Timestamp("2026-01-04"), pd.Timestamp("2026-01-02")]


def test_an_item_is_hidden_until_something_else_is_known_of_it() -> None:
    """User a hides i0, hides i1 and looks at it again, hides i4; b only hides; c hides nothing."""
    rows = [
        ("a", "i0", -1), ("a", "i1", -2), ("a", "i2", 1), ("a", "i1", 3), ("a", "i4", -1),
        ("b", "i2", -1), ("b", "i1", -1), ("c", "i2", 1),
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "weight"])
    frame["event_at"] = pd.date_range("2026-01-01", periods=len(frame), freq="D")
    frame = frame.assign(event_id=[f"e{n}" for n in range(len(frame))], source_order=range(len(frame)))
    histories = user_histories(in_order(frame), pd.Series({"b": "young"}), length=2).set_index("user_id")
    assert histories.index.tolist() == ["a", "b", "c"]
    assert {user: list(ids) for user, ids in histories["item_ids"].items()} == {"a": ["i2", "i1"], "b": [], "c": ["i2"]}
    assert {user: list(ids) for user, ids in histories["hidden_item_ids"].items()} == {
        "a": ["i0", "i4"],
        "b": ["i2", "i1"],
        "c": [],
    }
    assert histories["last_event_at"].dt.day.tolist() == [4, 7, 8]
    assert histories["segment"].tolist() == [None, "young", None]
    one = user_histories(in_order(frame[frame["user_id"] == "a"]), pd.Series(dtype=object), length=1)
    assert (list(one["item_ids"][0]), list(one["hidden_item_ids"][0])) == (["i1"], ["i4"])


def test_nothing_but_hides_makes_histories_without_items() -> None:
    frame = _interactions([1], users="a").assign(weight=-1.0)
    (row,) = user_histories(in_order(frame), pd.Series(dtype=object), length=5).to_dict("records")
    assert (list(row["item_ids"]), list(row["hidden_item_ids"])) == ([], ["i0"])
    assert row["last_event_at"] == pd.Timestamp("2026-01-01")
