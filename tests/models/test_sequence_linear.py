from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.errors import ConfigurationError, DataError
from models.interactions import InteractionLog
from models.sequence_linear import SequenceLinearConfig, SequenceLinearRetriever, normal_equations

IDS = ["a", "b", "c", "d"]
CATALOGUE = Catalogue.from_frame(pd.DataFrame({"item_id": IDS}))


def log_of(histories: dict[str, str], *, on_a_day: int = 1) -> InteractionLog:
    rows = [(user, item, number) for user, items in histories.items() for number, item in enumerate(items)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "position"])
    days = pd.to_timedelta(frame["position"] // on_a_day, unit="D")
    return InteractionLog.from_frame(frame.assign(event_at=pd.Timestamp("2026-01-01") + days, weight=1.0), IDS)


def plain_equations(histories: dict[str, str], share: float, decay: float) -> tuple[np.ndarray, np.ndarray]:
    """The sums of the definition, one step of one user after the other."""
    gram, cross = np.zeros((4, 4)), np.zeros((4, 4))
    for items in histories.values():
        rows = [IDS.index(item) for item in items]
        members = np.zeros(4)
        members[rows] = 1
        gram += share * np.outer(members, members)
        cross += share * np.outer(members, members)
        for step in range(1, len(rows)):
            past = np.zeros(4)
            for age, row in enumerate(reversed(rows[:step])):
                past[row] += np.exp(-age / decay)
            gram += (1 - share) * np.outer(past, past)
            cross[:, rows[step]] += (1 - share) * past
    return gram, cross


def test_the_normal_equations_equal_the_sums_of_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.sequence_linear.STEPS_PER_BLOCK", 4)  # blocks that part the users
    histories = {"1": "abca", "2": "d", "3": "bdcab", "4": "ca"}
    config = SequenceLinearConfig(consistency=0.3, transition_decay=1.5)
    gram, cross = normal_equations(log_of(histories), config)
    expected_gram, expected_cross = plain_equations(histories, 0.3, 1.5)
    np.testing.assert_allclose(gram.toarray(), expected_gram, rtol=1e-5)
    np.testing.assert_allclose(cross.toarray(), expected_cross, rtol=1e-5)


def test_events_of_the_same_second_are_each_others_past_unless_their_order_is_believed() -> None:
    log = log_of({"1": "abc"}, on_a_day=2)  # a and b on the first day, c on the second
    unordered = SequenceLinearConfig(consistency=0.0, transition_decay=1.0, ties="unordered")
    near, far = 1.0, np.exp(-1)
    _, cross = normal_equations(log, unordered)
    np.testing.assert_allclose(cross.toarray()[:3, :3], [[0, near, far], [near, 0, near], [0, 0, 0]], rtol=1e-6)
    _, cross = normal_equations(log, replace(unordered, ties="ordered"))
    np.testing.assert_allclose(cross.toarray()[:3, :3], [[0, near, far], [0, 0, near], [0, 0, 0]], rtol=1e-6)


def test_ties_of_one_user_never_reach_into_the_next() -> None:
    log = log_of({"1": "ab", "2": "cd"}, on_a_day=2)
    _, cross = normal_equations(log, SequenceLinearConfig(consistency=0.0, ties="unordered"))
    np.testing.assert_allclose(cross.toarray(), [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]])


def test_the_order_within_a_second_does_not_change_the_scores() -> None:
    model = SequenceLinearRetriever(SequenceLinearConfig(regularization=1.0, ties="unordered"))
    model.fit(log_of({"1": "abcd", "2": "bdac", "3": "cabd"}, on_a_day=2), CATALOGUE)
    one, other = (model.score(log_of({"x": items}, on_a_day=2).histories([0])) for items in ("abc", "bac"))
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_only_pairs_within_the_window_count() -> None:
    config = SequenceLinearConfig(consistency=0.0, window=1)
    _, cross = normal_equations(log_of({"1": "abc"}), config)
    np.testing.assert_allclose(cross.toarray(), [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def test_it_learns_the_direction_of_a_sequence() -> None:
    log = log_of({str(number): "abc" for number in range(8)})
    model = SequenceLinearRetriever(SequenceLinearConfig(regularization=1.0, consistency=0.1))
    model.fit(log, CATALOGUE)
    after_b = model.score(log_of({"x": "b"}).histories([0]))[0]
    assert after_b.argmax() == 2
    assert after_b[2] > 2 * after_b[0] > 0


def test_consistency_alone_knows_no_order() -> None:
    histories = {"1": "abc", "2": "abd", "3": "cad"}
    backwards = {user: items[::-1] for user, items in histories.items()}
    config = SequenceLinearConfig(regularization=1.0, consistency=1.0)
    forward, reverse = SequenceLinearRetriever(config), SequenceLinearRetriever(config)
    forward.fit(log_of(histories), CATALOGUE)
    reverse.fit(log_of(backwards), CATALOGUE)
    np.testing.assert_allclose(forward.weights().toarray(), reverse.weights().toarray(), rtol=1e-6)


def test_data_beyond_the_memory_limit_are_refused_with_a_remedy() -> None:
    config = SequenceLinearConfig(max_memory_gib=1e-7)
    with pytest.raises(DataError, match=r"more than sequence_linear.max_memory_gib \(1e-07\); lower .*window"):
        SequenceLinearRetriever(config).fit(log_of({"1": "abc"}), CATALOGUE)


@pytest.mark.parametrize(
    "settings",
    [{"regularization": 0}, {"consistency": 1.5}, {"window": 0}, {"transition_decay": 0}, {"ties": "random"}],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=f"sequence_linear.{next(iter(settings))}"):
        SequenceLinearConfig(**settings)  # type: ignore[arg-type]
