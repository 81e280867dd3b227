"""Gaps between interactions and interactions of one second, from buckets to what the network learns from them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.interactions import Histories, InteractionLog, LongArray
from models.sequence_batches import epoch_batches, training_windows
from models.sequence_config import SequenceConfig
from models.sequence_retriever import SequenceRetriever
from models.sequence_times import FIRST, GAP_BUCKETS, gap_buckets

HOUR, ITEMS = 3600, 12
CONFIG = SequenceConfig(
    embedding_size=16,
    max_length=6,
    dropout=0.0,
    attention_dropout=0.0,
    learning_rate=0.01,
    epochs=120,
    batch_tokens=128,
    times="gaps",
    item_source="id",
)


def log_of(histories: list[list[int]], ats: list[list[int]]) -> InteractionLog:
    lengths = [len(history) for history in histories]
    return InteractionLog(
        user_ids=np.array([f"u{user}" for user in range(len(histories))], dtype=object),
        segments=np.full(len(histories), "", dtype=object),
        start=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        item_rows=np.concatenate(histories).astype(np.int32),
        event_ats=np.concatenate(ats).astype(np.int64),
        weights=np.ones(sum(lengths), dtype=np.float32),
        item_count=ITEMS,
    )


def hours(*values: float) -> LongArray:
    return (np.array(values) * HOUR).astype(np.int64)


def test_each_doubling_of_the_hours_is_a_bucket() -> None:
    assert gap_buckets(hours(0, 0.5, 1, 3, 7, 24 * 365)).tolist() == [1, 1, 2, 3, 4, 14]


def test_gaps_stay_within_the_table() -> None:
    found = gap_buckets(np.array([-10 * HOUR, np.iinfo(np.int64).max // 2]))
    assert found.tolist() == [1, GAP_BUCKETS - 1]
    assert FIRST not in found


def test_batches_carry_the_gap_before_each_place() -> None:
    log = log_of([[0, 1, 2], [3, 4]], [hours(0, 1, 100).tolist(), hours(500, 503).tolist()])
    windows = training_windows(log, np.arange(ITEMS), CONFIG)
    gaps = {
        int(row): int(gap)
        for batch in epoch_batches(windows, 100, np.random.default_rng(0))
        for row, gap in zip(batch.inputs[batch.inputs >= 0], batch.gaps[batch.inputs >= 0], strict=True)
    }
    assert gaps == {0: FIRST, 1: 2, 3: FIRST}


def test_shuffling_moves_items_within_their_second_only() -> None:
    log = log_of([[0, 1, 2, 3, 4], [5, 6, 7]], [[1, 2, 2, 2, 3], [3, 3, 4]])
    windows = training_windows(log, np.arange(ITEMS), CONFIG)
    orders = {tuple(windows.shuffled(np.random.default_rng(seed)).rows.tolist()) for seed in range(60)}
    assert len(orders) == 12  # three items of one second and two of another, in every order
    for order in orders:
        assert (order[0], order[4], order[7]) == (0, 4, 7)
        assert {*order[1:4]} == {1, 2, 3}


def second_then_third(gap: int, step: int) -> tuple[list[list[int]], list[list[int]]]:
    """Every pair of items `gap` hours apart, then the item `step` beyond the second at once."""
    histories = [[first, second, (second + step) % ITEMS] for first in range(ITEMS) for second in range(ITEMS)]
    return histories, [hours(0, gap, gap).tolist() for _ in histories]


@pytest.mark.parametrize(("times", "share"), [("gaps", 1.0), ("none", 0.0)])
def test_what_comes_next_may_depend_on_the_gap(times: str, share: float) -> None:
    short, long = second_then_third(1, 1), second_then_third(720, 5)
    log = log_of(short[0] + long[0], short[1] + long[1])
    model = SequenceRetriever(replace(CONFIG, times=times, targets="all", ties="ordered"), device="cpu")
    model.fit(log, Catalogue.from_frame(pd.DataFrame({"item_id": [f"i{row:02d}" for row in range(ITEMS)]})), seed=0)
    rows = np.arange(ITEMS)
    asked = np.stack([(rows + 3) % ITEMS, rows], axis=1).astype(np.int32)
    near, far = (model.score(_histories(asked, hours(0, gap))) for gap in (1, 720))
    one, five = (rows + 1) % ITEMS, (rows + 5) % ITEMS
    is_right = (near[rows, one] > near[rows, five]) & (far[rows, five] > far[rows, one])
    assert is_right.mean() == share


def _histories(items: np.ndarray, ats: LongArray) -> Histories:
    shape = items.shape
    return Histories(
        items,
        np.ones(shape, dtype=np.float32),
        np.broadcast_to(ats, shape).astype(np.int64),
        np.full(len(items), "", dtype=object),
    )
