"""The words and habits of a domain, read from `words/<domain>.toml`."""

import tomllib
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any

from assets.sources.demo.config import DemoDomain
from models.errors import ConfigurationError

_BUILT_FIELDS = {"levels", "departments", "styles", "topics", "habits"}


@dataclass(frozen=True)
class Topic:
    """A leaf category: its path and the words of its items."""

    path: tuple[str, ...]
    things: tuple[str, ...]
    words: tuple[str, ...]
    parts: tuple[str, ...]
    sentences: tuple[str, ...]
    price: tuple[float, float]


@dataclass(frozen=True)
class Style:
    """A taste that shows in the text, such as minimal or rugged."""

    name: str
    adjectives: tuple[str, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Habits:
    """How people of this domain behave."""

    event_types: tuple[str, ...]
    """From the shallowest to the deepest; every visit has the first."""
    funnel: tuple[float, ...]
    """Chance to go on from each event type to the next."""
    sessions_per_day: float
    """Mean over users."""
    visits_per_session: float
    """Mean number of items visited."""
    follow: float
    """Chance to go on to the successor of the item, where there is one."""
    resume: float
    """The same at the start of a session, from the last item of the session before."""
    stay: float
    """Chance that the next free choice keeps the topic."""
    freshness_days: float
    """Age at which the boost of a new item has fallen to 1/e."""
    freshness_boost: float
    """A brand-new item is this many times more visible, on top of its own popularity."""


@dataclass(frozen=True)
class Vocabulary:
    """Everything that is particular to one domain."""

    item_prefix: str
    image: str
    currency: str
    block_length: int
    """Items come in blocks of this length; a block starts with a series, the rest are singles."""
    series_length: int
    later_part_popularity: float
    """Popularity of the later items of a series among free choices, relative to the first one."""
    late_items: float
    """Share of the items that arrive after day 0."""
    ends_share: float
    """Share of the items that become unavailable."""
    end_is_announced: bool
    """Whether the end is known from the start; otherwise an updated row arrives on that day."""
    end_days: tuple[int, int]
    """Bounds of the days between arrival and end."""
    singles: tuple[str, ...]
    leads: tuple[str, ...]
    follows: tuple[str, ...]
    description: str
    levels: tuple[str, ...]
    colours: tuple[str, ...]
    models: tuple[str, ...]
    departments: dict[str, tuple[str, ...]]
    """Makers (brands, authors, teachers) by department, the first element of a topic's path."""
    styles: tuple[Style, ...]
    topics: tuple[Topic, ...]
    habits: Habits

    @property
    def makers(self) -> tuple[str, ...]:
        """All makers, in the order of the departments."""
        return tuple(maker for makers in self.departments.values() for maker in makers)


def load_vocabulary(domain: DemoDomain) -> Vocabulary:
    """Read the packaged words of `domain`; raises ConfigurationError when a topic names an unknown department."""
    source = resources.files("assets.sources.demo") / "words" / f"{domain}.toml"
    table = tomllib.loads(source.read_text(encoding="utf-8"))
    common_parts = table.get("parts", [])
    topics = tuple(_topic(row, common_parts) for row in table["topics"])
    departments = {name: tuple(makers) for name, makers in table["departments"].items()}
    for topic in topics:
        if topic.path[0] not in departments:
            raise ConfigurationError(f"{domain}.toml: topic {topic.path} needs [departments] {topic.path[0]}")
    plain = {entry.name for entry in fields(Vocabulary)} - _BUILT_FIELDS
    own: dict[str, Any] = {name: _frozen(value) for name, value in table.items() if name in plain}
    habits: dict[str, Any] = {name: _frozen(value) for name, value in table["behaviour"].items()}
    return Vocabulary(
        **own,
        levels=tuple(table.get("levels", ())),
        departments=departments,
        styles=tuple(Style(s["name"], tuple(s["adjectives"]), tuple(s["sentences"])) for s in table["styles"]),
        topics=topics,
        habits=Habits(**habits),
    )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _topic(row: dict[str, Any], common_parts: list[str]) -> Topic:
    low, high = row.get("price", (9, 90))
    return Topic(
        path=tuple(row["path"]),
        things=tuple(row["things"]),
        words=tuple(row["words"]),
        parts=tuple(row.get("parts", common_parts)),
        sentences=tuple(row["sentences"]),
        price=(float(low), float(high)),
    )
