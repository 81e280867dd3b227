"""The market looks like a market: long tails, drift, sessions, newcomers, words."""

import itertools
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from assets.sources.demo.config import DemoConfig
from assets.sources.demo.draws import arrival_days, count_by_day, public_ids
from assets.sources.demo.population import Population
from assets.sources.demo.vocabulary import load_vocabulary

DOMAINS = ("shop", "feed", "courses")


@pytest.mark.parametrize("domain", DOMAINS)
def test_popularity_and_activity_have_long_tails(demo_market, domain):
    views = demo_market(domain).views
    for column, share_of_top_tenth in (("item_id", 0.25), ("user_id", 0.22)):
        counts = views[column].value_counts().to_numpy()
        assert counts[: len(counts) // 10].sum() / counts.sum() > share_of_top_tenth
    assert views.item_id.value_counts().max() > 5 * views.item_id.value_counts().median()


@pytest.mark.parametrize("domain", DOMAINS)
def test_sessions_are_apart_by_more_than_an_hour_and_inside_a_day(demo_market, domain):
    events = demo_market(domain).events
    at = pd.to_datetime(events.event_at)
    sessions = events.assign(at=at).groupby(["user_id", "session_id"]).at.agg(["min", "max"]).reset_index()
    sessions = sessions.sort_values(["user_id", "min"])
    gaps = sessions["min"] - sessions.groupby("user_id")["max"].shift()
    assert gaps.min() > pd.Timedelta(minutes=61)
    assert (sessions["min"].dt.date == sessions["max"].dt.date).all()
    within = events.assign(at=at).sort_values(["user_id", "at"]).groupby("session_id").at.diff()
    assert within.max() < pd.Timedelta(minutes=30)


@pytest.mark.parametrize("domain", DOMAINS)
def test_funnel_narrows(demo_market, domain):
    counts = demo_market(domain).events.event_type.value_counts()
    types = load_vocabulary(domain).habits.event_types
    assert all(counts[deep] < 0.6 * counts[shallow] for shallow, deep in itertools.pairwise(types))


def test_interests_drift_to_the_third_topic():
    people = Population(DemoConfig(users=500), load_vocabulary("shop"))
    first, last = people.interest_shares(0), people.interest_shares(29)
    turned = people.turning_day < 20
    assert first[:, 0].mean() > 0.5
    assert last[turned, 2].mean() > 0.5
    np.testing.assert_allclose(first.sum(axis=1), 0.88)


def test_segments_prefer_topics_of_their_own():
    people = Population(DemoConfig(users=5000), load_vocabulary("shop"))
    topics = int(people.topics.max()) + 1
    by_age = np.stack([np.bincount(people.topics[people.age_band == age, 0], minlength=topics) for age in range(5)])
    shares = by_age / by_age.sum(axis=1, keepdims=True)
    assert np.abs(shares - shares.mean(axis=0)).sum(axis=1).min() > 0.2


@pytest.mark.parametrize("domain", DOMAINS)
def test_events_touch_only_items_and_users_that_exist_and_are_available(demo_market, domain):
    market = demo_market(domain)
    # The last version of an item says when it ended.
    items = market.items.drop_duplicates("item_id", keep="last").set_index("item_id")
    events = market.events.join(items[["available_from", "available_until"]], on="item_id")
    assert (events.event_at >= events.available_from).all()
    assert ((events.available_until == "") | (events.event_at < events.available_until)).all()
    joined = market.users.set_index("user_id").updated_at
    assert (market.events.event_at >= market.events.user_id.map(joined)).all()
    assert (items.available_until != "").mean() > 0.01


def test_items_and_users_keep_arriving(demo_market):
    market = demo_market("shop")
    first_file = f"{market.config.first_day}"
    assert (market.items.file > first_file).sum() > 60
    assert market.users.file[market.users.file > first_file].nunique() == 23
    assert market.items.file.max() == f"{market.config.first_day + timedelta(days=23)}"


def test_arrival_days_agree_with_counts():
    days = arrival_days(1600, 1500, 0.1, 30)
    assert [(days <= day).sum() for day in range(40)] == [count_by_day(1500, 0.1, day, 30) for day in range(40)]
    assert count_by_day(1500, 0.1, 29, 30) == 1500


@pytest.mark.parametrize("domain", DOMAINS)
def test_titles_read_well_and_seldom_repeat(demo_market, domain):
    items = demo_market(domain).items.drop_duplicates("item_id")
    assert items.title.nunique() > 0.9 * len(items)
    assert items.title.str.fullmatch(r"[A-Z][^{}]{8,100}").all()
    assert not items.description.str.contains(r"[{}]|None|\.\.").any()


def test_ids_are_distinct_and_keep_their_prefix():
    assert len(set(public_ids("x-", 100_000, 5))) == 100_000
    assert public_ids("x-", 3, 5).tolist() == public_ids("x-", 9, 5).tolist()[:3]


def test_sessions_ids_do_not_reveal_the_user(demo_market):
    events = demo_market("shop").events
    assert not any(user in session for user, session in zip(events.user_id, events.session_id, strict=True))
