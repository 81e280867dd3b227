"""Landing rows of events: one day's events as a frame of texts."""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.sources.demo.behaviour import DayEvents
from assets.sources.demo.catalogue import Catalogue
from assets.sources.demo.draws import IntArray
from assets.sources.demo.population import Population

_SURFACES = ("home", "search", "category", "email")
_SURFACE_SHARES = (0.5, 0.8, 0.95)
_NOTHING: Any = None  # numpy's stubs refuse a plain None where a choice may be empty.


def event_frame(
    events: DayEvents, number: int, day: date, catalogue: Catalogue, people: Population, rng: np.random.Generator
) -> pd.DataFrame:
    """Rows of one day, all cells text or None, with the landing columns up to `surface`.

    Args:
        events: what happened.
        number: number of the day, part of the event ids.
        day: date of the day.
        catalogue: names the items.
        people: names the users.
        rng: draws values and surfaces.
    """
    vocabulary = catalogue.vocabulary
    count = len(events.user)
    surface = np.searchsorted(_SURFACE_SHARES, rng.random(count))
    surface = np.where(events.is_entry, surface, np.where(surface == 1, 0, surface))
    topics = np.array([topic.path[-1].lower() for topic in vocabulary.topics], dtype=object)
    is_search = (surface == 1) & (events.kind == 0)
    # Numbered within the day: a session id that held the user id would defeat the pseudonyms of ingestion.
    _, session = np.unique(events.user * 10 + events.part_of_day, return_inverse=True)
    return pd.DataFrame(
        {
            "event_id": [f"e{number:04d}-{row:07d}" for row in range(count)],
            "user_id": people.ids[events.user],
            "item_id": catalogue.ids[events.item],
            "event_type": np.array(vocabulary.habits.event_types, dtype=object)[events.kind],
            "event_at": _moments(day, events.at_ms),
            "value": _values(events.kind, vocabulary.habits.event_types, rng),
            "session_id": [f"s{number:04d}-{row:06d}" for row in session.tolist()],
            "query": np.where(is_search, topics[catalogue.topic[events.item]], _NOTHING),
            "surface": np.array(_SURFACES, dtype=object)[surface],
        },
        dtype=object,
    )


def _values(kinds: IntArray, names: tuple[str, ...], rng: np.random.Generator) -> NDArray[np.object_]:
    """Dwell seconds of a view, quantity of a purchase, nothing otherwise."""
    numbers = np.array([str(number) for number in range(301)], dtype=object)
    dwell = np.clip(rng.exponential(40.0, len(kinds)), 2, 300).astype(np.int64)
    quantity = np.minimum(rng.geometric(0.85, len(kinds)), 5)
    name = np.array(names, dtype=object)[kinds]
    values = np.where(name == "view", numbers[dwell], _NOTHING)
    return np.where(name == "purchase", numbers[quantity], values)


def _moments(day: date, at_ms: IntArray) -> list[str]:
    midnight = np.datetime64(day, "ms")
    return [f"{moment}Z" for moment in np.datetime_as_string(midnight + at_ms.astype("timedelta64[ms]")).tolist()]
