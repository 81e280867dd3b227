from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.errors import ConfigurationError, DataError
from models.fusion_fitting import fit_ranker
from models.interactions import PADDING, Histories, InteractionLog, empty_histories
from models.pipeline import rank_users, recommend
from models.recommender import Recommender
from models.recommender_config import RecommenderConfig
from models.reranking import ItemRule, RerankRules
from models.splitting import Holdout, Targets

Market = tuple[Catalogue, InteractionLog]
NOW = int(pd.Timestamp("2026-06-01").timestamp())


@pytest.fixture
def market(checkerboard: Market) -> tuple[Recommender, InteractionLog]:
    catalogue, log = checkerboard
    config = RecommenderConfig.from_dict(
        {
            "retrievers": ["popularity", "co_occurrence", "content", "als"],
            "candidates_per_retriever": 5,
            "als": {"embedding_size": 4},
            "popularity": {"min_segment_interactions": 1},
            "fusion": {"evaluations": 30},
        }
    )
    users = np.arange(20, dtype=np.int32)
    holdout = Holdout(log, users, Targets(np.arange(21), users))
    return Recommender.fit(log, holdout, catalogue, config, seed=0), log


def lists(
    recommender: Recommender,
    histories: Histories,
    rules: RerankRules | None = None,
    *,
    top_k: int = 5,
    users: list[str] | None = None,
) -> pd.DataFrame:
    names = users or [f"u{number:02d}" for number in range(histories.count)]
    return recommend(recommender, None, histories, names, rules or RerankRules(), top_k=top_k, as_of=NOW)


def nobody(segment: str = "") -> Histories:
    return empty_histories(np.array([segment], dtype=object))


def test_the_planted_item_is_first_and_its_reason_names_a_seen_item(market: tuple[Recommender, InteractionLog]) -> None:
    recommender, log = market
    best = lists(recommender, log.histories(np.arange(20))).query("rank == 1")
    assert best["item_id"].tolist() == [f"i{number:02d}" for number in range(20)]
    for user, reason in enumerate(best["reason"]):
        title = reason.split('"')[1]
        assert int(title.removeprefix("Item ")) % 2 == user % 2


@pytest.mark.parametrize("top_k", [1, 5, 10, 50])
def test_every_list_has_as_many_items_as_are_unseen(market: tuple[Recommender, InteractionLog], top_k: int) -> None:
    recommender, log = market
    frame = lists(recommender, log.histories(np.arange(20)), top_k=top_k)
    lengths = frame.groupby("user_id").size()
    assert set(lengths) == {min(top_k, 11)}
    assert frame.groupby("user_id")["item_id"].nunique().equals(lengths)


def test_ranks_count_from_one_and_scores_never_rise(market: tuple[Recommender, InteractionLog]) -> None:
    recommender, log = market
    rules = RerankRules(
        max_per_category=3, cold_share=0.2, item_rules=(ItemRule("r", "pin", "item_id", "i19", amount=1),)
    )
    frame = lists(recommender, log.histories(np.arange(20)), rules, top_k=11)
    for _, own in frame.groupby("user_id"):
        assert own["rank"].tolist() == list(range(1, len(own) + 1))
        assert own["score"].is_monotonic_decreasing


@pytest.mark.parametrize("method", ["weighted", "rrf", "stacked", "lambdarank"])
def test_terms_add_up_to_every_score(market: tuple[Recommender, InteractionLog], method: str) -> None:
    recommender, log = market
    users = np.arange(20, dtype=np.int32)
    sample = recommender.ranking_sample(Holdout(log, users, Targets(np.arange(21), users)), seed=0)
    recommender.own_ranker = fit_ranker(method, sample, recommender.config.fusion, seed=0)
    rules = RerankRules(
        max_per_category=3,
        item_rules=(ItemRule("p", "pin", "item_id", "i19", 1), ItemRule("b", "boost", "item_id", "i03", 0.5)),
    )
    frame = lists(recommender, log.histories(users), rules, top_k=11)
    sums = [sum(part["amount"] for part in entry) for entry in frame["contributions"]]
    np.testing.assert_allclose(sums, frame["score"], atol=1e-3)
    named = {part["term"] for entry in frame["contributions"] for part in entry}
    assert "boost" in named
    assert set(frame.loc[frame["item_id"] == "i19", "source"]) <= {"rule"}


@pytest.mark.parametrize("with_index", [False, True])
def test_one_by_one_equals_one_batch(market: tuple[Recommender, InteractionLog], with_index: bool) -> None:
    recommender, log = market
    index = recommender.build_index(seed=0) if with_index else None
    rules = RerankRules(max_per_category=3, max_per_brand=2)
    users = np.arange(20)
    names = log.user_ids
    together = recommend(recommender, index, log.histories(users), names, rules, top_k=7, as_of=NOW)
    parts = [
        recommend(recommender, index, log.histories([user]), names[[user]], rules, top_k=7, as_of=NOW) for user in users
    ]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), together)


def test_explored_lists_are_the_same_alone_and_their_propensities_tell(
    market: tuple[Recommender, InteractionLog],
) -> None:
    recommender, log = market
    users, rules = np.arange(20), RerankRules(explore_share=0.4)
    together = lists(recommender, log.histories(users), rules, top_k=4)
    plain = lists(recommender, log.histories(users), top_k=4)
    parts = [lists(recommender, log.histories([u]), rules, top_k=4, users=[f"u{u:02d}"]) for u in users]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), together)
    is_drawn = (together["item_id"] != plain["item_id"]).to_numpy()
    assert 0.1 < is_drawn.mean() < 0.6
    assert (together.loc[is_drawn, "propensity"] <= 0.4 + 1e-6).all()
    assert set(together.loc[~is_drawn, "propensity"].round(6)) <= {0.6, 1.0}
    assert set(plain["propensity"]) == {1.0}
    assert together.groupby("user_id")["item_id"].nunique().eq(4).all()


@pytest.mark.parametrize("method", ["mmr", "dpp", "calibrated"])
def test_variety_changes_lists_and_keeps_their_promises(
    market: tuple[Recommender, InteractionLog], method: Literal["mmr", "dpp", "calibrated"]
) -> None:
    recommender, log = market
    histories = log.histories(np.arange(20))
    plain = RerankRules(exclude_seen=False)
    frame = lists(recommender, histories, replace(plain, diversity=method, diversity_weight=0.9), top_k=6)
    is_changed = not frame["item_id"].equals(lists(recommender, histories, plain, top_k=6)["item_id"])
    # Everyone's history is of one category, and so are the plain lists: they are calibrated already.
    assert is_changed == (method != "calibrated")
    for _, own in frame.groupby("user_id"):
        assert own["score"].is_monotonic_decreasing
        assert own["item_id"].nunique() == 6


def test_arrays_and_frame_say_the_same(market: tuple[Recommender, InteractionLog]) -> None:
    recommender, log = market
    histories = log.histories(np.arange(20))
    ranked = rank_users(recommender, None, histories, RerankRules(), top_k=5, as_of=NOW)
    frame = lists(recommender, histories)
    assert recommender.catalogue.item_ids[ranked.items].ravel().tolist() == frame["item_id"].tolist()
    np.testing.assert_allclose(ranked.scores.ravel(), frame["score"])


def test_a_new_user_gets_what_is_popular_in_the_segment(market: tuple[Recommender, InteractionLog]) -> None:
    recommender, _ = market
    frame = lists(recommender, nobody("north"), top_k=3)
    north = recommender.retrievers["popularity"].score(nobody("north"))[0]
    assert frame["item_id"].tolist() == recommender.catalogue.item_ids[np.argsort(-north, kind="stable")[:3]].tolist()
    assert set(frame["source"]) == {"popularity"}
    assert set(frame["reason"]) == {"popular in north"}


def test_a_new_user_without_a_segment_gets_what_is_popular(market: tuple[Recommender, InteractionLog]) -> None:
    assert set(lists(market[0], nobody("mars"))["reason"]) == {"popular now"}


def test_unavailable_and_blocked_items_are_never_shown(market: tuple[Recommender, InteractionLog]) -> None:
    recommender, log = market
    ends = recommender.catalogue.available_until.copy()
    ends[0] = NOW
    recommender.catalogue = replace(recommender.catalogue, available_until=ends)
    rules = RerankRules(item_rules=(ItemRule("r", "block", "item_id", "i02"),))
    shown = set(lists(recommender, log.histories(np.arange(20)), rules, top_k=20)["item_id"])
    assert shown == {f"i{number:02d}" for number in range(20)} - {"i00", "i02"}


def test_seen_items_return_where_the_domain_allows_it(market: tuple[Recommender, InteractionLog]) -> None:
    recommender, log = market
    frame = lists(recommender, log.histories([0]), RerankRules(exclude_seen=False), top_k=20)
    assert len(frame) == 20


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("with_index", [True, False])
def test_hidden_items_are_never_shown(
    market: tuple[Recommender, InteractionLog], exclude_seen: bool, with_index: bool
) -> None:
    """The last user has no history and gets popular items; a pin does not bring back what was hidden."""
    recommender, log = market
    one = log.histories([0, 1, 2])
    hidden = np.array([[1, 3, PADDING], [PADDING, PADDING, PADDING], [19, 1, 2]], dtype=np.int32)
    whole = replace(one, items=np.where(np.arange(3)[:, None] == 2, PADDING, one.items).astype(np.int32))
    index = recommender.build_index(seed=0) if with_index else None
    rules = RerankRules(exclude_seen=exclude_seen, item_rules=(ItemRule("p", "pin", "item_id", "i19", 1),))
    names = np.array(["u0", "u1", "u2"], dtype=object)

    def shown(histories: Histories, users: list[int]) -> dict[str, list[str]]:
        made = recommend(
            recommender, index, histories.of_users(np.array(users)), names[users], rules, top_k=20, as_of=NOW
        )
        return {user: own["item_id"].tolist() for user, own in made.groupby("user_id")}

    before, after = shown(whole, [0, 1, 2]), shown(replace(whole, hidden=hidden), [0, 1, 2])
    assert after["u1"] == before["u1"]
    for user, gone in (("u0", {"i01", "i03"}), ("u2", {"i19", "i01", "i02"})):
        assert gone & set(before[user])
        assert after[user] != before[user]
        assert set(after[user]) == set(before[user]) - gone
    for user in range(3):
        assert shown(replace(whole, hidden=hidden), [user]) == {f"u{user}": after[f"u{user}"]}


def test_a_pin_stands_first_with_its_rule_as_the_reason(market: tuple[Recommender, InteractionLog]) -> None:
    recommender, log = market
    rules = RerankRules(item_rules=(ItemRule("spring", "pin", "item_id", "i19", amount=1),))
    first = lists(recommender, log.histories([0]), rules).iloc[0]
    assert (first["item_id"], first["source"], first["reason"]) == ("i19", "rule", "pinned by rule 'spring'")


def test_a_pin_does_not_bring_back_a_seen_item(market: tuple[Recommender, InteractionLog]) -> None:
    recommender, log = market
    rules = RerankRules(item_rules=(ItemRule("spring", "pin", "item_id", "i02", amount=1),))
    assert "i02" not in set(lists(recommender, log.histories([0]), rules)["item_id"])


def test_a_boost_lifts_an_item_that_nobody_proposed(market: tuple[Recommender, InteractionLog]) -> None:
    recommender, log = market
    rules = RerankRules(item_rules=(ItemRule("spring", "boost", "item_id", "i19", amount=100.0),))
    assert lists(recommender, log.histories([0]), rules)["item_id"].iloc[0] == "i19"


def test_categories_are_capped(market: tuple[Recommender, InteractionLog]) -> None:
    recommender, log = market
    ranked = rank_users(recommender, None, log.histories([0]), RerankRules(max_per_category=1), top_k=2, as_of=NOW)
    assert sorted(recommender.catalogue.categories[ranked.items[0]]) == ["c0", "c1"]


def test_cold_items_get_their_share(checkerboard: Market) -> None:
    catalogue, log = checkerboard
    warm = log.select(log.item_rows < 16)
    config = RecommenderConfig.from_dict({"retrievers": ["popularity", "co_occurrence", "content"]})
    users = np.arange(16, dtype=np.int32)
    made = Recommender.fit(warm, Holdout(warm, users, Targets(np.arange(17), users)), catalogue, config, seed=0)
    frame = lists(made, warm.histories(np.arange(16)), RerankRules(cold_share=0.25), top_k=4)
    cold = frame[frame["item_id"] >= "i16"]
    assert cold["user_id"].nunique() == 16
    assert frame.query("rank == 1")["item_id"].tolist() == [f"i{number:02d}" for number in range(16)]
    assert cold["reason"].str.startswith("new, similar to").all()
    # the cold item shares the parity, and so the text, of its user
    assert (cold["item_id"].str[1:].astype(int) % 2 == cold["user_id"].str[1:].astype(int) % 2).all()


def test_one_item_and_one_user() -> None:
    only = Catalogue.from_frame(pd.DataFrame({"item_id": ["a"]}))
    one = InteractionLog.from_frame(
        pd.DataFrame({"user_id": ["u"], "item_id": ["a"], "event_at": [pd.Timestamp("2026-01-01")], "weight": [1.0]}),
        ["a"],
    )
    config = RecommenderConfig(retrievers=("popularity", "co_occurrence", "als", "ease"))
    empty = Holdout(one, np.zeros(0, dtype=np.int32), Targets(np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32)))
    made = Recommender.fit(one, empty, only, config, seed=0)
    assert lists(made, one.histories([0]), users=["u"]).empty
    assert lists(made, nobody(), users=["v"])["item_id"].tolist() == ["a"]
    seen = lists(made, one.histories([0]), RerankRules(exclude_seen=False), users=["u"])
    assert seen["item_id"].tolist() == ["a"]


def test_no_users_give_an_empty_frame_with_its_columns(market: tuple[Recommender, InteractionLog]) -> None:
    frame = lists(market[0], empty_histories(np.array([], dtype=object)), users=[])
    assert frame.empty
    expected = ["user_id", "rank", "item_id", "score", "source", "reason", "contributions", "propensity"]
    assert list(frame.columns) == expected


def test_wrong_arguments_are_refused(market: tuple[Recommender, InteractionLog]) -> None:
    with pytest.raises(ConfigurationError, match="top_k"):
        lists(market[0], nobody(), top_k=0)
    with pytest.raises(DataError, match="2 user ids for 1 histories"):
        lists(market[0], nobody(), users=["a", "b"])
