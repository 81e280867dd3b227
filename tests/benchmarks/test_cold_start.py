"""The two cold-start benchmarks on data whose answers are planted."""

import importlib
from argparse import Namespace

import numpy as np
import pandas as pd
import pytest

from assets.domain import Domain
from models.catalogue import Catalogue
from models.interactions import InteractionLog
from models.splitting import leave_one_out

GROUPS, PER_GROUP, LENGTH = 4, 16, 13


@pytest.fixture
def shop() -> tuple[Namespace, Catalogue]:
    """Each user takes 13 items of one group of 16, whose texts say the group."""
    rng = np.random.default_rng(0)
    ids = [f"i{row:02d}" for row in range(GROUPS * PER_GROUP)]
    text = np.repeat(np.eye(GROUPS, dtype=np.float32), PER_GROUP, axis=0)
    rows = [
        (f"u{user:03d}", ids[(user % GROUPS) * PER_GROUP + item], day)
        for user in range(240)
        for day, item in enumerate(rng.permutation(PER_GROUP)[:LENGTH])
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "day"])
    frame["event_at"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(frame["day"], unit="D")
    catalogue = Catalogue.from_frame(pd.DataFrame({"item_id": ids}), text)
    log = InteractionLog.from_frame(frame.assign(weight=1.0), ids)
    domain = Domain("planted", {"view": 1.0}, recommender={"fusion": {"evaluations": 10}})
    return Namespace(domain=domain, catalogue=catalogue, log=log), catalogue


def test_held_out_items_are_found_by_their_text(shop: tuple[Namespace, Catalogue]) -> None:
    cold_items = importlib.import_module("cold_items")
    data, catalogue = shop
    split = leave_one_out(data.log)
    items, others = np.array([0, 16, 32, 48]), np.array([1, 17, 33, 49])
    arguments = Namespace(
        most=2, tolerance=1.0, seed=1, items=4, name=None, retrievers=["popularity", "content", "ease"]
    )
    facts = cold_items.measure(data, split, items, others, catalogue, arguments)
    assert facts["cold_users"] == np.isin(split.test.targets.item_rows, items).sum()
    # each group has one held-out item, so a reserved place shows it to all who want it
    assert facts["cold_recall@10"]["value"] == 1
    # without them, by each lift, competing by text, and in one or two places
    assert len(facts["validation"]) == 1 + len(cold_items.LIFTS) + 3
    chosen = [
        option
        for option in facts["test"][1:]
        if (list(option["places"]), option["lift"]) == (facts["chosen_places"], facts["chosen_lift"])
    ]
    assert len(chosen) == 1
    assert facts["cost"] == pytest.approx(facts["test"][0]["recall"] - chosen[0]["recall"])
    assert facts["test"][0]["cold_recall"] == 0


def test_one_known_event_tells_the_group(shop: tuple[Namespace, Catalogue]) -> None:
    cold_users = importlib.import_module("cold_users")
    data = shop[0]
    rows = cold_users.curve(data, leave_one_out(data.log), ("popularity", "co_occurrence", "ease"), 80)
    assert [row["known"] for row in rows] == [0, 1, 2, 3, 5, 10]
    assert rows[1]["ndcg@10"] > 2 * rows[0]["ndcg@10"]
    assert rows[-1]["ndcg@10"] > rows[1]["ndcg@10"]
