"""The users: segments, interests that follow the segment and drift, style, favourite makers, community, activity."""

import json
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assets.sources.demo.catalogue import COMMUNITIES, makers_of_topics
from assets.sources.demo.config import REFERENCE_DAYS, DemoConfig
from assets.sources.demo.draws import FloatArray, IntArray, arrival_days, count_by_day, public_ids, uniform, whole
from assets.sources.demo.vocabulary import Vocabulary

AGE_BANDS = ("18-24", "25-34", "35-44", "45-54", "55+")
REGIONS = ("North", "South", "East", "West", "Islands")
LATE_USERS = 0.10
"""Share of the users that arrive after day 0."""

INTERESTS = 3
"""Topics per user: the first one, a lasting second one, and the one that takes over from the first."""

_DRIFT_DAYS = 2.5
_ACTIVITY_SPREAD = 0.8
_SEGMENT_PULL = 1.5


class Population:
    """Arrays over the users in order of creation; shape (users,) unless said otherwise."""

    def __init__(self, config: DemoConfig, vocabulary: Vocabulary) -> None:
        """Draw the users that exist by the last day; longer markets begin with the same users."""
        self.count = count_by_day(config.users, LATE_USERS, config.days - 1, REFERENCE_DAYS)
        self._config = config

        def draw(attribute: int) -> FloatArray:
            return uniform(config.seed, "population", attribute, self.count)

        self.ids: NDArray[np.object_] = public_ids("u-", self.count, 2 * config.seed)
        self.arrives: IntArray = arrival_days(self.count, config.users, LATE_USERS, REFERENCE_DAYS)
        self.age_band: IntArray = whole(draw(0), len(AGE_BANDS))
        self.region: IntArray = whole(draw(1), len(REGIONS))
        self.topics: IntArray = self._interests(vocabulary, draw)
        """Shape (users, INTERESTS)."""
        self.turning_day: FloatArray = 5 + 45 * draw(5)
        """Day around which the third topic takes over from the first."""
        self.style: IntArray = whole(draw(6), len(vocabulary.styles))
        self.community: IntArray = whole(draw(7), COMMUNITIES)
        self.favourites: IntArray = np.stack(
            [makers_of_topics(vocabulary, self.topics[:, slot], draw(8 + slot)) for slot in range(INTERESTS)], axis=1
        )
        """Favourite maker of each topic; shape (users, INTERESTS)."""
        # Box–Muller rather than `normal`, because one uniform value per user keeps the streams prefix-stable.
        normal = np.sqrt(-2 * np.log(1 - draw(11))) * np.cos(2 * np.pi * draw(12))
        self.activity: FloatArray = np.exp(_ACTIVITY_SPREAD * normal - _ACTIVITY_SPREAD**2 / 2)
        """Relative number of sessions, mean 1, long-tailed."""
        self.part_of_day: FloatArray = _habit_by_part_of_day(draw(13))
        """Shares of morning, midday and evening; shape (users, 3)."""
        self.is_bot: NDArray[np.bool_] = _bots(config, self.count)
        self._hides: NDArray[np.bool_] = draw(14) < 0.06

    def interest_shares(self, day: int) -> FloatArray:
        """Shares of the three topics on a day, the rest being curiosity; shape (users, INTERESTS)."""
        shift = 1 / (1 + np.exp((self.turning_day - day) / _DRIFT_DAYS))
        return np.stack([0.06 + 0.52 * (1 - shift), np.full(self.count, 0.24), 0.06 + 0.52 * shift], axis=1)

    def rows_on(self, day: int) -> list[dict[str, Any]]:
        """Landing rows of the users that arrive on `day`; some keep age and region to themselves."""
        moment = f"{self._config.day(day):%Y-%m-%d}T00:00:00Z"
        return sorted(
            (self._row(int(user), moment, self._config.day(day)) for user in np.flatnonzero(self.arrives == day)),
            key=lambda row: str(row["user_id"]),
        )

    def _row(self, user: int, moment: str, joined: date) -> dict[str, Any]:
        is_open = not self._hides[user]
        return {
            "user_id": self.ids[user],
            "age_band": AGE_BANDS[self.age_band[user]] if is_open else "",
            "region": REGIONS[self.region[user]] if is_open else "",
            "attributes": json.dumps({"joined": f"{joined:%Y-%m}"}),
            "updated_at": moment,
        }

    def _interests(self, vocabulary: Vocabulary, draw: Any) -> IntArray:
        """Draw topics so that age and region pull towards some of them."""
        topics = len(vocabulary.topics)
        pull = uniform(self._config.seed, "population", 50, (len(AGE_BANDS) + len(REGIONS)) * topics)
        by_age, by_region = np.split(np.exp(_SEGMENT_PULL * 2 * pull).reshape(-1, topics), [len(AGE_BANDS)])
        table = np.cumsum((by_age[:, None] * by_region[None]).reshape(-1, topics), axis=1)
        segment = self.age_band * len(REGIONS) + self.region
        chosen = np.empty((self.count, INTERESTS), dtype=np.int64)
        for index in range(len(table)):
            rows = np.flatnonzero(segment == index)
            for slot in range(INTERESTS):
                chosen[rows, slot] = np.searchsorted(table[index], draw(2 + slot)[rows] * table[index, -1])
        return np.minimum(chosen, topics - 1)


def _habit_by_part_of_day(draw: FloatArray) -> FloatArray:
    """Evening people are the most; each user keeps to one habit."""
    habits = np.array([[0.6, 0.2, 0.2], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7]])
    habit: FloatArray = habits[np.searchsorted([0.2, 0.45], draw)]
    return habit


def _bots(config: DemoConfig, count: int) -> NDArray[np.bool_]:
    """Spread the bots over the users of day 0."""
    is_bot = np.zeros(count, dtype=np.bool_)
    if config.dirt.bots > 0:
        first_users = count_by_day(config.users, LATE_USERS, 0, REFERENCE_DAYS)
        bots = max(1, round(first_users * config.dirt.bots))
        is_bot[((np.arange(bots) + 0.5) / bots * first_users).astype(np.int64)] = True
    return is_bot
