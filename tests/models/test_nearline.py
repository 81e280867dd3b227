"""The step of all lanes: the same lists from events and from histories that hold them."""

import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.errors import DataError
from models.interactions import InteractionLog
from models.nearline import BuiltState, ListMaker, RebuiltDays, UserState, advance, no_interactions
from models.recommender import Recommender
from models.recommender_config import RecommenderConfig
from models.reranking import RerankRules
from models.splitting import Holdout, Targets

AS_OF = int(pd.Timestamp("2026-06-01").timestamp())
USERS = ["u01", "u02", "u40"]
SEGMENTS = pd.Series({"u40": "north"})
BEFORE, SINCE = [("u01", "i03"), ("u01", "i05"), ("u02", "i04")], [("u01", "i07"), ("u02", "i06"), ("u02", "i08")]


@pytest.fixture
def maker(checkerboard: tuple[Catalogue, InteractionLog]) -> ListMaker:
    catalogue, log = checkerboard
    config = RecommenderConfig.from_dict({"retrievers": ["popularity", "co_occurrence"], "candidates_per_retriever": 5})
    users = np.arange(20, dtype=np.int32)
    model = Recommender.fit(log, Holdout(log, users, Targets(np.arange(21), users)), catalogue, config, seed=0)
    return ListMaker(model, None, RerankRules(), 5)


def _interactions(pairs: list[tuple[str, str]], day: str, weight: float = 1.0) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "event_id": [f"{user}{item}{weight}" for user, item in pairs],
            "user_id": [user for user, _ in pairs],
            "item_id": [item for _, item in pairs],
            "event_at": pd.Timestamp(day) + pd.to_timedelta(range(len(pairs)), unit="h"),
            "event_day": pd.Timestamp(day),
            "weight": weight,
            "source_order": range(len(pairs)),
        }
    )


def _since() -> RebuiltDays:
    rows = pd.concat([_interactions(SINCE, "2026-05-02"), _interactions([("u02", "i10")], "2026-05-02", weight=-1.0)])
    return RebuiltDays(rows[["user_id", "event_day"]].drop_duplicates(), rows, {"stream": "7-0"})


def test_the_batch_lane_makes_the_lists_of_the_nearline_lane_from_its_histories(maker: ListMaker) -> None:
    state = UserState(_interactions(BEFORE, "2026-05-01"), SEGMENTS)
    nearline = advance(maker, state, _since(), users=USERS, history_length=10, as_of=AS_OF)
    batch = advance(
        maker, BuiltState(nearline.histories), RebuiltDays.none(), users=USERS, history_length=10, as_of=AS_OF
    )
    pd.testing.assert_frame_equal(batch.lists, nearline.lists)
    assert (nearline.position, batch.position) == ({"stream": "7-0"}, {})
    assert nearline.histories["user_id"].tolist() == USERS
    assert [list(items) for items in nearline.histories["hidden_item_ids"]] == [[], ["i10"], []]
    assert "i10" not in set(batch.lists.loc[batch.lists["user_id"] == "u02", "item_id"])


def test_a_step_taken_twice_changes_nothing(maker: ListMaker) -> None:
    state = UserState(_interactions(BEFORE, "2026-05-01"), SEGMENTS)
    once = advance(maker, state, _since(), users=USERS, history_length=10, as_of=AS_OF)
    again = UserState(once.interactions, SEGMENTS)
    twice = advance(maker, again, _since(), users=USERS, history_length=10, as_of=AS_OF)
    pd.testing.assert_frame_equal(twice.lists, once.lists)
    assert len(twice.interactions) == len(once.interactions)


def test_whom_nothing_but_a_hide_tells_of_gets_no_list(maker: ListMaker) -> None:
    rows = _interactions([("u50", "i03")], "2026-05-02", weight=-1.0)
    days = RebuiltDays(rows[["user_id", "event_day"]], rows, {})
    step = advance(maker, UserState(no_interactions(), SEGMENTS), days, users=["u50"], history_length=10, as_of=AS_OF)
    assert (step.gone, len(step.lists)) == (("u50",), 0)
    assert step.interactions["item_id"].tolist() == ["i03"]


def test_only_some_of_the_built_users_are_asked_for(maker: ListMaker) -> None:
    state = UserState(_interactions(BEFORE, "2026-05-01"), SEGMENTS)
    built = advance(maker, state, RebuiltDays.none(), users=USERS, history_length=10, as_of=AS_OF)
    some = advance(
        maker, BuiltState(built.histories), RebuiltDays.none(), users=["u02"], history_length=10, as_of=AS_OF
    )
    assert set(some.lists["user_id"]) == {"u02"}
    assert some.histories["user_id"].tolist() == ["u02"]


def test_events_that_the_warehouse_has_not_built_are_refused_by_built_histories(maker: ListMaker) -> None:
    state = UserState(_interactions(BEFORE, "2026-05-01"), SEGMENTS)
    built = advance(maker, state, RebuiltDays.none(), users=USERS, history_length=10, as_of=AS_OF)
    with pytest.raises(DataError, match=r"2 days of users .* build it first"):
        advance(maker, BuiltState(built.histories), _since(), users=USERS, history_length=10, as_of=AS_OF)
