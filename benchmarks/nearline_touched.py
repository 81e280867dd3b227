"""What one step of the nearline lane costs, over the users it touches and the items of the catalogue.

The step is `models.nearline.advance` itself, on a market that is drawn here: every user has 20 interactions before the
step and one event in it. Each catalogue has its own recommender (popularity, co-occurrence and ALS with its index).
"""

import math
import time
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from models.catalogue import Catalogue
from models.interactions import InteractionLog
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
_PARTS = 50
"""Parts of the catalogue."""
_ITEMS_PER_USER = 10
"""The recommender is fitted on one user for so many items, so that two interactions fall on an item."""
_CONFIG = RecommenderConfig.from_dict(
    {
        "retrievers": ["popularity", "co_occurrence", "als"],
        "als": {"embedding_size": 32, "epochs": 2},
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

    A user's items are of one part of the catalogue, as tastes are; few of them get most interactions.
    """
    random = np.random.default_rng(7)
    count, parts = users * each, min(_PARTS, items)
    width = items // parts
    first = np.repeat(np.arange(users) % parts, each) * width
    rows = first + (width * random.random(count) ** 2).astype(int)
    frame = pd.DataFrame(
        {
            "event_id": [f"{day}-{number}" for number in range(count)],
            "user_id": np.repeat([_name(number) for number in range(users)], each),
            "item_id": [f"i{row:07d}" for row in rows.tolist()],
            "event_at": pd.Timestamp(day) + pd.to_timedelta(np.tile(np.arange(each), users), unit="min"),
            "event_day": pd.Timestamp(day),
            "weight": 1.0,
            "source_order": pd.array([None] * count, dtype="Int64"),
        }
    )
    return frame.astype({"event_at": "datetime64[us]", "event_day": "datetime64[us]"})[list(INTERACTION_COLUMNS)]


def _name(number: int) -> str:
    return f"u{number:07d}"
