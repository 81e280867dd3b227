"""The hidden structure of the items: topic, style, maker, community, popularity, series and availability."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assets.sources.demo.config import REFERENCE_DAYS, DemoConfig
from assets.sources.demo.draws import IntArray, arrival_days, count_by_day, public_ids, uniform, whole
from assets.sources.demo.vocabulary import Vocabulary

COMMUNITIES = 4
"""Hidden circles of taste: users prefer items of their own, and no text tells."""

NEVER = 1 << 40
"""Day on which an item ends that does not end."""

_PARETO_SHAPE = 1.1
_LARGEST_POPULARITY = 60.0


@dataclass(frozen=True)
class Catalogue:
    """Arrays over the items in order of creation; shape (items,) each."""

    vocabulary: Vocabulary
    ids: NDArray[np.object_]
    lead: IntArray
    """First item of its series; itself for a single."""
    position: IntArray
    """0-based place in the series; -1 for a single."""
    successor: IntArray
    """Next item of the series, -1 for none; it may not have arrived yet."""
    topic: IntArray
    style: IntArray
    maker: IntArray
    """Index into `vocabulary.makers`."""
    community: IntArray
    popularity: NDArray[np.float64]
    """Pareto-distributed, so long-tailed."""
    arrives: IntArray
    """Day of arrival."""
    ends: IntArray
    """First day on which it is unavailable; NEVER for most."""

    def __len__(self) -> int:
        """Number of items."""
        return len(self.ids)

    def is_available(self, day: int) -> NDArray[np.bool_]:
        """Whether each item can be visited on a day."""
        return (self.arrives <= day) & (day < self.ends)


def build_catalogue(config: DemoConfig, vocabulary: Vocabulary) -> Catalogue:
    """Draw the items that exist by the last day; longer markets begin with the same items."""
    count = count_by_day(config.items, vocabulary.late_items, config.days - 1, REFERENCE_DAYS)

    def draw(attribute: int) -> NDArray[np.float64]:
        return uniform(config.seed, "catalogue", attribute, count)

    index = np.arange(count)
    place = index % vocabulary.block_length
    in_series = place < vocabulary.series_length
    lead = np.where(in_series, index - place, index)
    has_next = in_series & (place < vocabulary.series_length - 1) & (index + 1 < count)
    topic = whole(draw(0)[lead] ** 1.2, len(vocabulary.topics))
    popularity = np.minimum(draw(1)[lead] ** (-1 / _PARETO_SHAPE), _LARGEST_POPULARITY)
    popularity = np.where(lead == index, popularity, vocabulary.later_part_popularity * popularity)
    arrives = arrival_days(count, config.items, vocabulary.late_items, REFERENCE_DAYS)
    shortest, longest = vocabulary.end_days
    lasts = shortest + whole(draw(2), longest - shortest)
    # A series ends as a whole or not at all, so that nobody is stranded in its middle.
    ends = np.where(draw(3)[lead] < vocabulary.ends_share, arrives + lasts[lead], NEVER)
    return Catalogue(
        vocabulary=vocabulary,
        ids=public_ids(vocabulary.item_prefix, count, 2 * config.seed + 1),
        lead=lead,
        position=np.where(in_series, place, -1),
        successor=np.where(has_next, index + 1, -1),
        topic=topic,
        style=whole(draw(4)[lead], len(vocabulary.styles)),
        maker=makers_of_topics(vocabulary, topic, draw(5)[lead]),
        community=whole(draw(6)[lead], COMMUNITIES),
        popularity=popularity,
        arrives=arrives,
        ends=ends,
    )


def makers_of_topics(vocabulary: Vocabulary, topic: IntArray, draw: NDArray[np.float64]) -> IntArray:
    """Pick a maker from the department of each topic; `draw` is uniform in 0…1."""
    names = list(vocabulary.departments)
    sizes = np.array([len(vocabulary.departments[name]) for name in names])
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    department = np.array([names.index(entry.path[0]) for entry in vocabulary.topics])[topic]
    maker: IntArray = starts[department] + whole(draw, sizes[department])
    return maker
