from copy import copy, deepcopy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.cold_slots import cold_users, draw_items, hide_items, hold_out_items, measure_lifts, measure_without
from models.errors import ConfigurationError, NotFittedError
from models.fusion import normalise
from models.holdout_ranking import rank_holdout
from models.interactions import PADDING, FloatArray, InteractionLog, LongArray
from models.lending import Lending
from models.metrics import metrics_per_user
from models.newcomer_config import NewcomerConfig
from models.newcomers import AT_STAKE, PLACES, _between, _compete
from models.pipeline import recommend
from models.recommender import Recommender
from models.recommender_config import RecommenderConfig
from models.reranking import RerankRules
from models.splitting import Split, leave_one_out

GROUPS, PER_GROUP, USERS = 8, 12, 480
NOW = int(pd.Timestamp("2026-06-01").timestamp())
Shop = tuple[Recommender, Split, LongArray]


def market() -> tuple[Catalogue, InteractionLog]:
    """Users take seven items of one group in any order; the text of an item tells its group, and a little of itself."""
    rng = np.random.default_rng(0)
    ids = [f"i{row:03d}" for row in range(GROUPS * PER_GROUP)]
    text = np.repeat(np.eye(GROUPS, dtype=np.float32), PER_GROUP, axis=0)
    text = np.concatenate([text, 0.2 * rng.normal(size=(len(ids), 4))], axis=1).astype(np.float32)
    rows = [
        (f"u{user:03d}", ids[(user % GROUPS) * PER_GROUP + item], day)
        for user in range(USERS)
        for day, item in enumerate(rng.permutation(PER_GROUP)[:7])
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "day"])
    frame["event_at"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(frame["day"], unit="D")
    catalogue = Catalogue.from_frame(pd.DataFrame({"item_id": ids, "title": ids}), text)
    return catalogue, InteractionLog.from_frame(frame.assign(weight=1.0), ids)


def fitted(lift: float | None) -> Shop:
    """Fitted without 12 items, which the users of the test take all the same."""
    catalogue, log = market()
    split = leave_one_out(log)
    new = draw_items(split.train, 12, seed=3)
    cold = hold_out_items(split, new)
    table = {
        "retrievers": ["popularity", "content", "ease"],
        "newcomers": {} if lift is None else {"lift": lift, "neighbours": 4},
    }
    config = RecommenderConfig.from_dict(table)
    return Recommender.fit(cold.train, cold.validation, catalogue, config, seed=0), cold, new


@pytest.fixture(scope="module")
def shop() -> Shop:
    return fitted(0.0)


def frame_of(recommender: Recommender, split: Split, users: LongArray, *, top_k: int = 6) -> pd.DataFrame:
    histories = split.test.history.histories(users, length=50)
    names = split.test.history.user_ids[users]
    return recommend(recommender, None, histories, names, RerankRules(), top_k=top_k, as_of=NOW)


def test_new_items_reach_those_who_want_them_and_nobody_else(shop: Shop) -> None:
    recommender, split, new = shop
    frame = frame_of(recommender, split, np.arange(USERS))
    is_new = frame["item_id"].isin(recommender.catalogue.item_ids[new])
    group_of_item = frame["item_id"].str[1:].astype(int) // PER_GROUP
    group_of_user = frame["user_id"].str[1:].astype(int) % GROUPS
    assert is_new.mean() > 0.03
    assert (group_of_item == group_of_user)[is_new].all()
    wanted = cold_users(split.test, new)

    def recall(made: Recommender) -> FloatArray:
        ranked = rank_holdout(made, split.test, RerankRules(), top_k=6)
        return metrics_per_user(ranked, split.test.targets, (6,))["recall@6"]

    made = fitted(None)[0]
    made.weights = {"popularity": 0.5, "content": 0.0, "ease": 0.5}
    assert recall(made)[wanted].mean() == 0
    placed = recall(recommender)
    # six places, and five or more items of the group that the user has not had
    assert placed[wanted].mean() > 0.8
    assert placed[~wanted].mean() > 0.8


def test_more_lift_shows_more_new_items_and_costs_more(shop: Shop) -> None:
    recommender, split, new = shop
    fitted, catalogue = recommender.newcomers, recommender.catalogue
    without = measure_without(recommender, split.test, new, RerankRules(), k=4)
    little, some, much = measure_lifts(recommender, split.test, new, RerankRules(), (-8, 0, 8), k=4)
    assert without.lift is None
    assert without.cold_recall == little.cold_recall == 0
    assert without.recall == little.recall
    assert 0 < some.cold_recall < much.cold_recall
    assert some.recall > much.recall
    # what was measured leaves the recommender as it was
    assert recommender.newcomers is fitted
    assert recommender.catalogue is catalogue


def test_terms_add_up_scores_never_rise_and_new_items_say_so(shop: Shop) -> None:
    recommender, split, new = shop
    frame = frame_of(recommender, split, np.arange(80))
    totals = frame["contributions"].map(lambda terms: sum(term["amount"] for term in terms))
    np.testing.assert_allclose(totals, frame["score"], atol=3e-4)
    assert (frame.groupby("user_id")["score"].diff().fillna(0) <= 1e-9).all()
    shown = frame[frame["item_id"].isin(recommender.catalogue.item_ids[new])]
    assert shown["reason"].str.startswith("new, similar to").all()
    assert {term["term"] for terms in shown["contributions"] for term in terms} <= {"new_item_text", "placement"}


def test_one_by_one_equals_one_batch_and_a_saved_model_says_the_same(shop: Shop, tmp_path: Path) -> None:
    recommender, split, _ = shop
    together = frame_of(recommender, split, np.arange(40))
    alone = pd.concat([frame_of(recommender, split, np.array([user])) for user in range(40)], ignore_index=True)
    pd.testing.assert_frame_equal(together, alone)
    recommender.save(tmp_path)
    loaded = Recommender.load(tmp_path)
    loaded.refresh(recommender.catalogue)
    pd.testing.assert_frame_equal(together, frame_of(loaded, split, np.arange(40)))


def test_others_keep_their_scores_unless_a_new_item_enters_for_them(shop: Shop) -> None:
    recommender, split, new = shop
    frame = frame_of(recommender, split, np.arange(40), top_k=20)
    own = copy(recommender)
    own.catalogue = hide_items(recommender.catalogue, new)
    without = frame_of(own, split, np.arange(40), top_k=20)
    names = recommender.catalogue.item_ids[new]
    is_new = frame["item_id"].isin(names)
    assert not without["item_id"].isin(names).any()
    columns = ["user_id", "item_id", "score"]
    both = frame[~is_new][columns].merge(without[columns], on=["user_id", "item_id"])
    assert len(both) > 400
    moved = both[both["score_x"] != both["score_y"]]
    assert (moved["score_x"] < moved["score_y"]).all()
    entered = frame[is_new & (frame["rank"] <= AT_STAKE)].groupby("user_id").size()
    assert entered.sum() > 30
    pd.testing.assert_series_equal(moved.groupby("user_id").size(), entered)


def test_an_item_with_interactions_is_new_no_more(shop: Shop) -> None:
    own, _, new = deepcopy(shop)
    assert own.lending is not None
    assert own.lending.borrows(new.astype(np.int32)[None]).all()
    catalogue, log = market()
    own.refresh(catalogue, log)
    assert own.lending is not None
    assert not own.lending.borrows(np.arange(catalogue.count, dtype=np.int32)[None]).any()


def test_nothing_is_fitted_from_too_few_users() -> None:
    catalogue, log = market()
    few = log.select(log.user_rows < 100)
    split = leave_one_out(few)
    config = RecommenderConfig.from_dict({"retrievers": ["popularity", "content"], "newcomers": {"lift": 0.0}})
    made = Recommender.fit(split.train, split.validation, catalogue, config, seed=0)
    assert made.newcomers is None
    assert "newcomers" in made.skipped


def test_an_item_borrows_from_the_nearest_and_never_from_itself() -> None:
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1], [0, 0], [0.6, 0.8]], dtype=np.float32)
    can_lend = np.array([True, True, True, True, False])
    lending = Lending(vectors, can_lend, np.array([0, 3, 4]), NewcomerConfig(neighbours=2, temperature=1.0))
    assert lending.place.tolist() == [0, PADDING, PADDING, PADDING, 1]
    assert lending.neighbours.tolist() == [[1, 2], [1, 2]]
    np.testing.assert_allclose(lending.shares.sum(axis=1), 1)
    nearer = 1 / (1 + np.exp(0.8 - 0.96))
    np.testing.assert_allclose(lending.shares[1], [nearer, 1 - nearer], rtol=1e-6)
    rows = np.array([[4, 2, PADDING]], dtype=np.int32)
    borrowed = lending.borrowed(lambda items: items.astype(np.float32), rows)
    np.testing.assert_allclose(borrowed, [[nearer * 1 + (1 - nearer) * 2, 0, 0]], rtol=1e-6)


def test_a_new_item_enters_for_the_one_worth_least_and_stands_where_its_chance_belongs() -> None:
    scores = np.linspace(3, 0.1, PLACES, dtype=np.float32)[None]
    chances = np.linspace(-2, -8, PLACES)[None].copy()
    chances[0, 4] = -9  # the fifth is worth least
    good, best, hopeless = -3.5, -2.5, -7.5
    values, is_displaced, behind = _compete(np.array([[hopeless, good, -np.inf, best]]), chances, scores)
    assert np.flatnonzero(is_displaced[0]).tolist() == [4, 9]
    assert scores[0, 3] < values[0, 3] < scores[0, 2]
    assert scores[0, 8] < values[0, 1] < scores[0, 7]
    assert scores[0, 10] < behind[0] < scores[0, 9]
    # it is worth more than the fifth, whose place the best one has got
    assert scores[0, 27] < values[0, 0] < scores[0, 26]


def test_free_places_are_filled_before_anyone_is_displaced() -> None:
    scores = np.linspace(3, 0.1, PLACES, dtype=np.float32)[None]
    chances = np.full((1, PLACES), -np.inf)
    chances[0, :9] = -3
    values, is_displaced, _ = _compete(np.array([[-8.0, -9.0]]), chances, scores)
    assert np.flatnonzero(is_displaced[0]).tolist() == [9]  # nobody stands there
    assert values[0, 0] == pytest.approx(scores[0, 9])
    assert values[0, 1] < scores[0, 9]
    nobody = _compete(np.array([[-8.0, -9.0]]), np.full((1, PLACES), -np.inf), scores)[0]
    assert nobody[0, 0] > nobody[0, 1] >= scores[0, 9] - 1e-6


def test_trees_that_are_missing_are_named(shop: Shop, tmp_path: Path) -> None:
    shop[0].save(tmp_path)
    (tmp_path / "place_trees.txt").unlink()
    with pytest.raises(NotFittedError, match=r"without place_trees\.txt beside it; train again"):
        Recommender.load(tmp_path)


def test_chances_find_their_place_in_the_order_of_the_list() -> None:
    places = np.linspace(3, 0, PLACES, dtype=np.float32)[None]
    chances = np.linspace(-2, -8, PLACES)[None]
    scores = _between(np.array([[-1.0, -2.1, -5.0, -7.99, -9.0]]), chances, places)[0]
    assert scores[0] == pytest.approx(4)
    assert scores[4] == pytest.approx(-1)
    np.testing.assert_allclose(scores[1:4], 3 - 3 * (np.array([2.1, 5.0, 7.99]) - 2) / 6, rtol=1e-5)


def test_scores_are_counted_from_the_references_alone() -> None:
    scores = np.array([[1, 2, 3, 9]], dtype=np.float32)
    every = np.ones((1, 4), dtype=bool)
    unit = normalise(scores, every, every & (scores < 9))
    np.testing.assert_array_equal(unit[:, :3], normalise(scores[:, :3], every[:, :3]))
    np.testing.assert_allclose(unit[0, 3], 7 / np.sqrt(2 / 3), rtol=1e-6)


@pytest.mark.parametrize("table", [{"neighbours": 0}, {"proposals": 0}, {"users": 0}, {"temperature": 0.0}])
def test_settings_out_of_range_are_refused(table: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=f"newcomers.{next(iter(table))}"):
        RecommenderConfig.from_dict({"newcomers": table})
