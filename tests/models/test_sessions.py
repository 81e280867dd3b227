import numpy as np
import pytest

from models.sessions import session_starts


def _times(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[us]")


def test_gap_ends_a_session_only_beyond_the_bound() -> None:
    times = _times("2024-03-01T10:00:00", "2024-03-01T10:30:00", "2024-03-01T11:00:00.000001")

    assert session_starts(np.zeros(3, dtype=np.int64), times, 1800).tolist() == [True, False, True]


def test_midnight_ends_a_session() -> None:
    times = _times("2024-03-01T23:59:59", "2024-03-02T00:00:01")

    assert session_starts(np.zeros(2, dtype=np.int64), times, 1800).tolist() == [True, True]


def test_another_user_starts_a_session_at_the_same_time() -> None:
    times = _times("2024-03-01T10:00:00", "2024-03-01T10:00:00", "2024-03-01T10:00:00")

    assert session_starts(np.array([0, 0, 1]), times, 1800).tolist() == [True, False, True]


def test_no_events_have_no_sessions() -> None:
    assert session_starts(np.zeros(0, dtype=np.int64), _times(), 1800).tolist() == []


def test_a_single_event_is_a_session() -> None:
    assert session_starts(np.array([7]), _times("2024-03-01T10:00:00"), 1800).tolist() == [True]


def test_times_that_run_backwards_are_refused() -> None:
    with pytest.raises(ValueError, match="event 1 is earlier"):
        session_starts(np.zeros(2, dtype=np.int64), _times("2024-03-01T10:00:01", "2024-03-01T10:00:00"), 1800)


def test_lengths_must_match() -> None:
    with pytest.raises(ValueError, match="2 user rows do not match 1"):
        session_starts(np.zeros(2, dtype=np.int64), _times("2024-03-01T10:00:01"), 1800)
