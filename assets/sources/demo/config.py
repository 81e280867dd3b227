"""What to generate (`DemoConfig`) and what was generated (`DemoReport`)."""

from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from typing import Any, Literal, get_args

from models.errors import ConfigurationError

DemoDomain = Literal["shop", "feed", "courses"]

REFERENCE_DAYS = 30
"""`users` and `items` are the sizes after this many days; newcomers keep arriving at the same pace afterwards."""

LONGEST_DELAY = 3
"""A late event is delivered this many days after its own at most."""


@dataclass(frozen=True)
class DirtRates:
    """How dirty the files are; every rate is a share of the day's events in 0…0.5, except where stated."""

    duplicates: float = 0.004
    """Rows repeated byte by byte within their file."""
    late: float = 0.01
    """Events that are delivered one to three days later."""
    unparsable_time: float = 0.0005
    """Extra rows whose `event_at` is no time."""
    missing_user_id: float = 0.0005
    """Extra rows without `user_id`."""
    unknown_event_type: float = 0.0005
    """Extra rows whose event type the domain does not know."""
    value_not_finite: float = 0.0005
    """Extra rows whose `value` is NaN."""
    price_negative: float = 0.004
    """Extra item rows with a price below zero, as a share of the day's item rows."""
    bots: float = 0.002
    """Accounts run by a program, as a share of the first users; above 0 means one at least."""

    def __post_init__(self) -> None:
        """Check every rate."""
        for name, value in asdict(self).items():
            if not 0.0 <= value <= 0.5:
                raise ConfigurationError(f"dirt rate {name!r} is {value}; give a share between 0 and 0.5")


NO_DIRT = DirtRates(0, 0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class DemoConfig:
    """One market; the same configuration always gives the same bytes."""

    domain: DemoDomain = "shop"
    """Which market."""
    users: int = 2000
    """Users after 30 days."""
    items: int = 1500
    """Items after 30 days."""
    days: int = 30
    """Days of the market, from `first_day`."""
    first_day: date = date(2026, 1, 1)
    """Day 0."""
    seed: int = 7
    """Decides everything that is drawn."""
    days_from: int = 0
    """First day whose files are written; the days before it are replayed in memory, not written."""
    dirt: DirtRates = field(default_factory=DirtRates)
    """How dirty the files are."""

    def __post_init__(self) -> None:
        """Check names and ranges."""
        if self.domain not in get_args(DemoDomain):
            raise ConfigurationError(f"demo domain {self.domain!r} does not exist; use one of {get_args(DemoDomain)}")
        if self.users < 10 or self.items < 50:
            raise ConfigurationError(f"a demo needs 10 users and 50 items, got {self.users} and {self.items}")
        if self.days < 1 or not 0 <= self.days_from < self.days:
            raise ConfigurationError(f"days is {self.days} and days_from {self.days_from}; keep 0 ≤ days_from < days")
        if self.seed < 0:
            raise ConfigurationError(f"seed is {self.seed}; it must be 0 or more")

    def day(self, number: int) -> date:
        """Date of day `number`, where 0 is the first."""
        return self.first_day + timedelta(days=number)


@dataclass
class DemoReport:
    """What the written files hold; rows of kind events = good + duplicates + broken event rows."""

    files: list[str] = field(default_factory=list)
    """Names under the landing zone, in the order of writing."""
    rows: dict[str, int] = field(default_factory=lambda: {"events": 0, "items": 0, "users": 0})
    """Data rows by kind, everything included."""
    duplicates: int = 0
    """Event rows that repeat an earlier row of their file."""
    broken: dict[str, int] = field(default_factory=dict)
    """Rows to be quarantined, by the rule of `quality.row_rules` they break; price_negative counts item rows."""
    late: int = 0
    """Event rows found in the file of a later day than their own; good rows otherwise."""
    held_back: int = 0
    """Late event rows of the last days, which files after the last one would bring."""
    bots: int = 0
    """Bot accounts among the users."""
    bot_days: int = 0
    """Pairs of bot account and day with events; each has hundreds of events."""
    bot_rows: int = 0
    """Event rows of bots, repeats not counted."""

    @property
    def good_events(self) -> int:
        """Event rows that ingestion must accept."""
        return self.rows["events"] - self.duplicates - self.broken_events

    @property
    def broken_events(self) -> int:
        """Event rows that ingestion must quarantine."""
        return sum(count for rule, count in self.broken.items() if rule != "price_negative")

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, for a JSON report."""
        return {**asdict(self), "good_events": self.good_events}
