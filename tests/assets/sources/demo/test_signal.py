"""The planted signal: each test measures one kind of structure with the simplest model that can find it."""

import re
from collections import Counter, defaultdict

import numpy as np
import pandas as pd
import pytest


# Measured (Markov, popularity): shop .272 and .068, feed .247 and .047, courses .589 and .074.
@pytest.mark.parametrize(
    ("domain", "at_least", "times"), [("shop", 0.19, 2.5), ("feed", 0.17, 3.0), ("courses", 0.45, 5.0)]
)
def test_next_item_follows_the_last_item_far_more_than_popularity(demo_market, domain, at_least, times):
    views = demo_market(domain).views
    past, last_day = views[views.day < views.day.max()], views[views.day == views.day.max()].dropna()
    popular = set(past.item_id.value_counts().index[:10])
    following: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for previous, item in past[["previous", "item_id"]].dropna().itertuples(index=False):
        following[previous][item] += 1
    pairs = list(last_day[["previous", "item_id"]].itertuples(index=False))
    markov = np.mean([item in dict(following[previous].most_common(10)) for previous, item in pairs])
    popularity = last_day.item_id.isin(popular).mean()
    assert markov > at_least
    assert markov > times * popularity


def _bags(items: pd.DataFrame) -> pd.DataFrame:
    """Inverse-document-frequency weighted words of each item's text."""
    texts = (items.title + " " + items.description + " " + items.categories).str.lower()
    words = texts.map(lambda text: set(re.findall(r"[a-zà-ÿ]{3,}", text)))
    frequency = Counter(word for bag in words for word in bag)
    vocabulary = {word: column for column, word in enumerate(sorted(frequency))}
    table = np.zeros((len(items), len(vocabulary)), dtype=np.float32)
    for row, bag in enumerate(words):
        for word in bag:
            table[row, vocabulary[word]] = np.log(len(items) / frequency[word])
    return pd.DataFrame(table, index=pd.Index(items.item_id))


# Measured: shop .781, feed .813, courses .787.
@pytest.mark.parametrize(("domain", "at_least"), [("shop", 0.69), ("feed", 0.74), ("courses", 0.69)])
def test_text_ranks_new_items_by_interest(demo_market, domain, at_least):
    """Mean share of the new items that a user's words rank below the one visited; 0.5 is chance."""
    market = demo_market(domain)
    views, items = market.views, market.items.drop_duplicates("item_id")
    first_day = sorted(views.day.unique())[-8]
    bags = _bags(items)
    fresh = bags.loc[items.item_id[items.available_from.str[:10] >= first_day]]
    # Profiles end before the first of the new items, so that no new item is in any of them.
    past = views[views.day < first_day].groupby("user_id").item_id
    profiles = {user: bags.loc[seen].sum().to_numpy() for user, seen in past}
    visits = views[views.item_id.isin(fresh.index) & views.user_id.isin(list(profiles))]
    visits = visits.drop_duplicates(["user_id", "item_id"]).head(600)
    scores = np.stack([profiles[user] for user in visits.user_id]) @ fresh.to_numpy().T
    own = scores[np.arange(len(visits)), fresh.index.get_indexer(visits.item_id)][:, None]
    ranks = ((scores < own).sum(axis=1) + 0.5 * ((scores == own).sum(axis=1) - 1)) / (len(fresh) - 1)
    assert len(ranks) > 30
    assert np.mean(ranks) > at_least


# Measured: shop 1.43, feed 1.33, courses 1.30; the text differs by under 3 %.
@pytest.mark.parametrize(("domain", "at_least"), [("shop", 1.25), ("feed", 1.18), ("courses", 1.15)])
def test_users_of_one_item_share_a_community_that_no_text_shows(demo_market, domain, at_least):
    """Among items of one topic, those of the same hidden community share more users than others do."""
    market = demo_market(domain)
    catalogue = market.catalogue
    row = {item: index for index, item in enumerate(catalogue.ids)}
    views = market.views.drop_duplicates(["user_id", "item_id"])
    users, user = np.unique(views.user_id, return_inverse=True)
    visited = np.zeros((len(users), len(catalogue)), dtype=np.float32)
    visited[user, views.item_id.map(row)] = 1
    together, expected = visited.T @ visited, np.outer(visited.sum(axis=0), visited.sum(axis=0))
    # Pairs within a series share users for another reason.
    is_pair = (catalogue.topic[:, None] == catalogue.topic) & (catalogue.lead[:, None] != catalogue.lead)
    is_same = catalogue.community[:, None] == catalogue.community
    lift = [together[is_pair & mask].sum() / expected[is_pair & mask].sum() for mask in (is_same, ~is_same)]
    ratio = lift[0] / lift[1]
    bags = _bags(market.items.drop_duplicates("item_id")).loc[list(catalogue.ids)].to_numpy()
    likeness = bags @ bags.T
    text_ratio = likeness[is_pair & is_same].mean() / likeness[is_pair & ~is_same].mean()
    assert ratio > at_least
    assert text_ratio == pytest.approx(1.0, abs=0.1)


def test_courses_of_a_track_are_taken_in_order(demo_market):
    market = demo_market("courses")
    catalogue = market.catalogue
    row = {item: index for index, item in enumerate(catalogue.ids)}
    done = market.events[market.events.event_type == "enroll"].sort_values(["user_id", "event_at"])
    done = done.assign(row=done.item_id.map(row)).drop_duplicates(["user_id", "row"])
    done = done.assign(track=catalogue.lead[done.row], place=catalogue.position[done.row])
    # Measured: .84; in a random order it would be .5.
    steps = done.groupby(["user_id", "track"]).place.diff().dropna()
    assert (steps > 0).mean() > 0.75
