"""What one step of the nearline lane costs, over the users it touches and the items of the catalogue.

The step is `models.nearline.advance` itself, on a market that is drawn here: every user has 20 interactions before the
step and one event in it. Each catalogue has its own recommender (popularity, co-occurrence and ALS with its index).

Interactions follow tastes, as in real catalogues. Items are in groups, up to 300. A user has three of them, the popular
groups more often than others, and takes 54 % of the items from the first, 22 and 14 % from the others and 10 % from
anywhere. Within a group popularity follows Zipf's law, flattened at the top. So most of a million items have no
interactions, and hardly any of the others have many.
"""

import math
import time
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.catalogue import Catalogue
from models.interactions import InteractionLog, LongArray
from models.nearline import INTERACTION_COLUMNS, ListMaker, RebuiltDays, UserState, advance
from models.recommender import Recommender
from models.recommender_config import RecommenderConfig
from models.reranking import RerankRules
from models.splitting import Holdout, Targets

BEFORE = 20
"""Interactions of a user before the step."""
TOP_K = 20
HISTORY_LENGTH = 200
REPEATS, LONG_S = 3, 10.0
"""Steps of each size, and seconds from which on one is enough."""
SLACK = 1.5
"""What the measurement of a step may be off by."""
AS_OF = int(pd.Timestamp("2026-01-04").timestamp())
_LEAST_TRAINED_ON = 2_000
_GROUPS, _LEAST_IN_A_GROUP = 300, 200
"""Most groups of items, and items of each where there are fewer groups."""
_TASTES = (0.6, 0.25, 0.15)
"""Shares of a user's groups in what the user does not take from anywhere."""
_FROM_ANYWHERE = 0.1
_FLAT = 10
"""The item of rank r, from 0 on, of a group is drawn as often as 1 / (r + 10)."""
_ITEMS_PER_USER = 10
"""The recommender is fitted on one user for so many items, so that two interactions fall on an item."""
_CONFIG = RecommenderConfig.from_dict(
    {
        "retrievers": ["popularity", "co_occurrence", "als"],
        "als": {"embedding_size": 32},
        "fusion": {"evaluations": 2},
    }
)


def curve(
    item_counts: list[int], user_counts: list[int], longest_s: float = math.inf
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Seconds of one step for each size of catalogue and number of touched users.

    Args:
        item_counts: Sizes of the catalogue.
        user_counts: Numbers of touched users, ascending.
        longest_s: A step that should take longer, by the one before it, is left out.

    Returns:
        `items, users, seconds` of each step, the median of three short ones; and `items, users, expected_s` of those
        left out.
    """
    points, left_out = list[dict[str, Any]](), list[dict[str, Any]]()
    for items in item_counts:
        maker, most = maker_of(items), max(user_counts)
        interactions = drawn(most, items, BEFORE, "2026-01-01")
        fresh = drawn(most, items, 1, "2026-01-03")
        for users in user_counts:
            before = points[-1] if points and points[-1]["items"] == items else {"seconds": 0.0, "users": 1}
            expected = before["seconds"] * users / before["users"]
            if expected > longest_s:
                left_out.append({"items": items, "users": users, "expected_s": round(expected)})
                continue
            taken = [step(maker, interactions, fresh, users)]
            while taken[0] < LONG_S and len(taken) < REPEATS:
                taken.append(step(maker, interactions, fresh, users))
            points.append({"items": items, "users": users, "seconds": round(float(np.median(taken)), 4)})
            print(points[-1], flush=True)
    return points, left_out


def grows_with_users(points: list[dict[str, Any]]) -> bool:
    """Whether n times the users never take more than `SLACK` n times as long, for each size of catalogue."""
    for items in {point["items"] for point in points}:
        own = sorted((point["users"], point["seconds"]) for point in points if point["items"] == items)
        for (users, seconds), (more, longer) in pairwise(own):
            if longer > SLACK * seconds * more / users:
                return False
    return True


def step(maker: ListMaker, interactions: pd.DataFrame, fresh: pd.DataFrame, count: int) -> float:
    """Time one step for the first users."""
    users = [_name(number) for number in range(count)]
    state = UserState(interactions.iloc[: count * BEFORE], pd.Series([], dtype=object))
    events = fresh.iloc[:count]
    days = RebuiltDays(events[["user_id", "event_day"]], events, {})
    begun = time.perf_counter()
    made = advance(maker, state, days, users=users, history_length=HISTORY_LENGTH, as_of=AS_OF)
    seconds = time.perf_counter() - begun
    if made.lists["user_id"].nunique() != count:
        raise SystemExit(f"{made.lists['user_id'].nunique()} lists were made for {count} users")
    return seconds


def maker_of(items: int) -> ListMaker:
    """A fitted recommender with its index."""
    ids = [f"i{number:07d}" for number in range(items)]
    catalogue = Catalogue.from_frame(pd.DataFrame({"item_id": ids}))
    users = max(_LEAST_TRAINED_ON, items // _ITEMS_PER_USER)
    log = InteractionLog.from_frame(drawn(users, items, BEFORE, "2026-01-01"), catalogue.item_ids)
    nobody = Targets(np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32))
    model = Recommender.fit(log, Holdout(log, np.zeros(0, dtype=np.int32), nobody), catalogue, _CONFIG, seed=0)
    index = model.build_index(seed=0, histories=log.histories(range(_LEAST_TRAINED_ON)), model_version="drawn")
    return ListMaker(model, index, RerankRules(), TOP_K)


def drawn(users: int, items: int, each: int, day: str) -> pd.DataFrame:
    """`INTERACTION_COLUMNS` of so many interactions of each user, by user and time.

    A user has the same tastes however many users are drawn.
    """
    count = users * each
    rows = _drawn_rows(users, items, each)
    frame = pd.DataFrame(
        {
            "event_id": [f"{day}-{number}" for number in range(count)],
            "user_id": np.repeat([_name(number) for number in range(users)], each),
            "item_id": [f"i{row:07d}" for row in rows.ravel().tolist()],
            "event_at": pd.Timestamp(day) + pd.to_timedelta(np.tile(np.arange(each), users), unit="min"),
            "event_day": pd.Timestamp(day),
            "weight": 1.0,
            "source_order": pd.array([None] * count, dtype="Int64"),
        }
    )
    return frame.astype({"event_at": "datetime64[us]", "event_day": "datetime64[us]"})[list(INTERACTION_COLUMNS)]


def _drawn_rows(users: int, items: int, each: int) -> LongArray:
    """Item rows, shape (users, each)."""
    groups = int(np.clip(items // _LEAST_IN_A_GROUP, 1, _GROUPS))
    tastes = _ranks(np.random.default_rng(7).random((users, len(_TASTES))), groups, flat=1)
    random = np.random.default_rng(8)
    group = np.take_along_axis(tastes, random.choice(len(_TASTES), (users, each), p=_TASTES), axis=1)
    anywhere = random.integers(groups, size=group.shape)
    group = np.where(random.random(group.shape) < _FROM_ANYWHERE, anywhere, group)
    width = items // groups
    return np.asarray(group * width + _ranks(random.random(group.shape), width, flat=_FLAT), dtype=np.int64)


def _ranks(chances: npt.NDArray[np.float64], count: int, *, flat: int) -> LongArray:
    """Ranks from 0 on, less than `count`, for uniform chances: rank r comes as often as 1 / (r + flat)."""
    ranks = flat * ((1 + count / flat) ** chances - 1)
    return np.minimum(ranks, count - 1).astype(np.int64)


def _name(number: int) -> str:
    return f"u{number:07d}"
