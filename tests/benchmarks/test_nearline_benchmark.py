"""The load generator, the reading of its samples, and the curve over touched users."""

import json
import socket
import threading
import uuid
from collections import Counter
from itertools import islice

import pytest
import redis

URL = "redis://127.0.0.1:6379/9"


def test_fixed_events_are_the_same_in_every_run_and_all_different() -> None:
    from nearline_load import choices, fixed_events

    users, items = [f"u{n}" for n in range(50)], [f"i{n}" for n in range(40)]
    first, second = (list(islice(fixed_events(choices(users, items, 3)), 2_000)) for _ in range(2))
    assert first == second
    assert len({tuple(event.values()) for event in first}) == 2_000
    assert {event["user_id"] for event in first} == set(users)


def test_awkward_events_are_late_repeated_and_bad_at_fixed_places() -> None:
    from nearline_load import awkward_events, choices, fixed_events, kinds_of

    drawn = list(islice(awkward_events(choices(["u"], ["i", "j"], 3)), 120))
    assert kinds_of(120) == Counter(kind for kind, _ in drawn) == {"new": 90, "late": 10, "again": 10, "bad": 10}
    straight = list(islice(fixed_events(choices(["u"], ["i", "j"], 3)), 100))
    events = {kind: [event for found, event in drawn if found == kind] for kind in ("new", "late", "again", "bad")}
    assert [event for event in straight if event in events["new"]] == events["new"]
    assert all(event in events["new"] for event in events["again"])
    assert {event["event_at"][:10] for event in events["late"]} == {"2026-01-31"}
    assert {event["event_type"] for event in events["bad"]} == {"unheard of"}


def test_events_are_sent_at_the_rate_that_was_asked_for() -> None:
    from nearline_load import choices, fixed_events, send

    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 6379)):
            pytest.skip("no Redis on this machine")
    client, stream = redis.Redis.from_url(URL), f"test-{uuid.uuid4()}"
    try:
        events = fixed_events(choices(["u"], ["i", "j"], 1))
        said = send(client, stream, events, 100.0, 0.5, threading.Event(), has_ids=True)
        entries = client.xrange(stream) or []
    finally:
        client.delete(stream)
    assert said["sent"] == len(entries) == 50
    assert said["seconds"] >= 0.45
    assert [entry for entry, _ in entries] == [f"{number}-1".encode() for number in range(1, 51)]
    first = entries[0][1]
    assert first is not None
    assert json.loads(first[b"event"])["user_id"] == "u"


def test_growth_is_judged_by_the_middle_and_the_last_third() -> None:
    from nearline import thirds

    assert thirds([1, 2, 3, 4, 5, 6]) == ([3, 4], [5, 6])
    assert thirds([7.0]) == ([7.0], [7.0])


def test_a_step_that_grows_faster_than_its_users_is_told_apart() -> None:
    from nearline_touched import grows_with_users

    steady = [{"items": 10, "users": 1, "seconds": 0.01}, {"items": 10, "users": 100, "seconds": 0.9}]
    other = [{"items": 99, "users": 1, "seconds": 5.0}, {"items": 99, "users": 10, "seconds": 5.0}]
    assert grows_with_users(steady + other)
    assert not grows_with_users([*steady, *other, {"items": 10, "users": 200, "seconds": 3.0}])


def test_the_curve_has_a_point_for_each_size() -> None:
    from nearline_touched import curve

    points, left_out = curve([60], [1, 3])
    assert [(point["items"], point["users"]) for point in points] == [(60, 1), (60, 3)]
    assert all(point["seconds"] > 0 for point in points)
    assert not left_out


def test_steps_that_would_take_too_long_are_left_out_and_named() -> None:
    from nearline_touched import curve

    points, left_out = curve([60], [1, 100_000, 1_000_000], longest_s=20)
    assert [(point["items"], point["users"]) for point in points] == [(60, 1)]
    assert [(size["users"], size["expected_s"] > 20) for size in left_out] == [(100_000, True), (1_000_000, True)]


def test_drawn_users_keep_their_tastes_however_many_are_drawn() -> None:
    from nearline_touched import drawn

    few, many = (drawn(users, 60_000, 20, "2026-01-01") for users in (30, 300))
    groups = [Counter(frame["item_id"].str[1:].astype(int)[:20] // 200) for frame in (few, many)]
    favourites = [{group for group, count in own.items() if count > 2} for own in groups]
    assert favourites[0] & favourites[1]
    assert all(len(own) < 10 for own in groups)
    assert few.equals(drawn(30, 60_000, 20, "2026-01-01"))
    assert 0.1 < many["item_id"].nunique() / len(many) < 0.9
