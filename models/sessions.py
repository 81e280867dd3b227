"""Session boundaries for events that have not been through the warehouse.

The same rule as the dbt model `int_events_sessionized`: a session ends after more than the given idle time, and at
midnight UTC. A test holds both to the same answer on the same events.
"""

import numpy as np
import numpy.typing as npt


def session_starts(
    user_rows: npt.NDArray[np.int64],
    event_ats: npt.NDArray[np.datetime64],
    gap_seconds: float,
) -> npt.NDArray[np.bool_]:
    """Mark the events that start a session.

    Args:
        user_rows: User of each event; the events of one user stand together.
        event_ats: UTC time of each event, ascending within a user.
        gap_seconds: Idle seconds that a session may contain; one microsecond more ends it.

    Returns:
        One flag for each event, true for the first of a session; empty for no events.

    Raises:
        ValueError: the arrays differ in length, or times run backwards within a user.
    """
    if len(user_rows) != len(event_ats):
        raise ValueError(f"{len(user_rows)} user rows do not match {len(event_ats)} event times")
    times = event_ats.astype("datetime64[us]")
    starts = np.ones(len(times), dtype=np.bool_)
    if len(times) < 2:
        return starts
    is_same_user = user_rows[1:] == user_rows[:-1]
    idle = times[1:] - times[:-1]
    backwards = np.flatnonzero(is_same_user & (idle < np.timedelta64(0, "us")))
    if len(backwards):
        raise ValueError(f"event {backwards[0] + 1} is earlier than the event before it: sort by user, then time")
    days = times.astype("datetime64[D]")
    is_same_day = days[1:] == days[:-1]
    is_idle_short = idle <= np.timedelta64(round(gap_seconds * 1_000_000), "us")
    starts[1:] = ~(is_same_user & is_same_day & is_idle_short)
    return starts
