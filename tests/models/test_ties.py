import numpy as np
import pandas as pd
import pytest

from models.interactions import InteractionLog
from models.ties import resolved_ties, tie_agreement

IDS = [f"i{number:03d}" for number in range(200)]


def log_of(baskets: list[list[int]]) -> InteractionLog:
    """Each basket is taken by a user of its own within one second."""
    rows = [
        (f"u{user:04d}", IDS[item], place) for user, items in enumerate(baskets) for place, item in enumerate(items)
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "position"])
    return InteractionLog.from_frame(frame.assign(event_at=pd.Timestamp("2026-01-01"), weight=1.0), IDS)


def test_agreement_is_the_share_of_pairs_of_users_with_the_same_order() -> None:
    # Items 0 and 1: twice one way, once the other, so one of three pairs of users agrees. Items 4 and 5: one user.
    agreement, comparisons = tie_agreement(log_of([[0, 1], [1, 0], [0, 1], [4, 5]]))
    assert agreement == pytest.approx(1 / 3)
    assert comparisons == 3


def test_without_ties_nothing_is_compared() -> None:
    log = log_of([[0, 1], [1, 0]])
    spread = InteractionLog(
        log.user_ids, log.segments, log.start, log.item_rows, np.arange(4), log.weights, log.item_count
    )
    assert tie_agreement(spread) == (1.0, 0.0)
    assert resolved_ties("auto", spread) == "ordered"


def test_a_shuffled_order_is_not_believed_and_a_kept_one_is() -> None:
    rng = np.random.default_rng(0)
    kept = [[item, item + 1] for item in range(0, 100, 2) for _ in range(4)]
    shuffled = [list(rng.permutation(basket)) for basket in kept]
    assert resolved_ties("auto", log_of(kept)) == "ordered"
    assert resolved_ties("auto", log_of(shuffled)) == "unordered"
    assert resolved_ties("ordered", log_of(shuffled)) == "ordered"


def test_a_few_disagreements_prove_nothing() -> None:
    assert resolved_ties("auto", log_of([[0, 1], [1, 0]])) == "ordered"
