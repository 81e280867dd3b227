"""A domain: what one kind of deployment (a shop, a feed, a course platform) means by its data.

Domains are TOML files, packaged under `assets/domains/` or anywhere on disk; the code is the same for all.
"""

import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass, field, fields
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from models.errors import ConfigurationError


@dataclass(frozen=True)
class Domain:
    """Event weights, warehouse rules, serving rules and model budgets of one domain."""

    name: str
    """Name of the domain, equal to the file's name."""

    event_weights: dict[str, float]
    """Known event types and the weight of one event as evidence of interest; 0 keeps a type out of the marts, and below
    0 it hides the item from the user, whatever the number."""

    session_gap_minutes: int = 30
    """Idle minutes that end a session."""

    duplicate_window_seconds: int = 0
    """Repeats of user, item and type within this time count once; 0 keeps all."""

    bot_events_per_day: int = 1000
    """A user with more events than this in one day is left out of that day."""

    segment_by: str = ""
    """Column of the users that segments them: `age_band`, `region` or empty."""

    item_id_pattern: str = ""
    """Regular expression that a product's id matches in full; empty for any."""

    surface: str = "home"
    """Surface that the lists are made for."""

    top_k: int = 20
    """Length of a list."""

    list_ttl_hours: int = 48
    """Hours after the end of the data at which a list expires; for so long the nearline lane follows the clock."""

    exclude_seen: bool = True
    """Whether items that the user has interacted with are left out of the list."""

    max_per_category: int = 0
    """Most items of one category in a list; 0 for no cap."""

    max_per_brand: int = 0
    """Most items of one brand or author in a list; 0 for no cap."""

    cold_share: float = 0.0
    """Share of the slots reserved for items without interactions."""

    cold_places: tuple[int, ...] = ()
    """Places (from 1) reserved for items without interactions, such as [9, 10]; beside or instead of the share."""

    diversity: Literal["none", "mmr", "dpp", "calibrated"] = "none"
    """How lists trade relevance for variety."""

    diversity_weight: float = 0.0
    """Weight of variety, from 0 (none) to 1."""

    explore_share: float = 0.0
    """Probability that a place of a list shows an item drawn at random, on record as its propensity."""

    validation_share: float = 0.1
    """Share of the interactions, just before the test window, that fits fusion weights and stops training."""

    test_share: float = 0.1
    """Last share of the interactions, which only the evaluation reads."""

    evaluated_users: int = 20_000
    """Users of the test window that a recommender is judged on, drawn at random where there are more."""

    retrain_every_days: int = 7
    """Days of data after which encoder and recommender are trained anew."""

    freshness_warn_seconds: float = 15.0
    """Seconds from the arrival of an event to its user's list (p95) beyond which a check warns."""

    freshness_fail_seconds: float = 120.0
    """Seconds beyond which it fails."""

    freshness_window_minutes: int = 60
    """Minutes that the check looks back."""

    seed: int = 7
    """Seed of every random choice."""

    pretraining: dict[str, Any] = field(default_factory=dict)
    """Fields of `models.encoder_config.PretrainingConfig`."""

    finetuning: dict[str, Any] = field(default_factory=dict)
    """Fields of `models.encoder_config.FinetuningConfig`."""

    recommender: dict[str, Any] = field(default_factory=dict)
    """Fields of `models.recommender.RecommenderConfig`."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ConfigurationError: a value is out of range; names the key.
        """
        checks = {
            "event_weights": any(weight > 0 for weight in self.event_weights.values())
            and all(isfinite(weight) for weight in self.event_weights.values()),
            "segment_by": self.segment_by in ("", "age_band", "region"),
            "top_k": self.top_k >= 1,
            "cold_share": 0 <= self.cold_share <= 1,
            "cold_places": all(place >= 1 for place in self.cold_places)
            and len(set(self.cold_places)) == len(self.cold_places),
            "diversity": self.diversity in ("none", "mmr", "dpp", "calibrated"),
            "diversity_weight": 0 <= self.diversity_weight <= 1,
            "explore_share": 0 <= self.explore_share <= 0.5,
            "validation_share": 0 < self.validation_share < 1,
            "test_share": 0 < self.test_share < 1 - self.validation_share,
            "session_gap_minutes": self.session_gap_minutes > 0,
            "freshness_warn_seconds": self.freshness_warn_seconds > 0,
            "freshness_fail_seconds": self.freshness_fail_seconds >= self.freshness_warn_seconds,
            "freshness_window_minutes": self.freshness_window_minutes >= 1,
            "evaluated_users": self.evaluated_users >= 1,
            "retrain_every_days": self.retrain_every_days > 0,
        }
        for key, is_valid in checks.items():
            if not is_valid:
                raise ConfigurationError(f"domain {self.name!r}: {key} = {getattr(self, key)!r} is out of range")

    def fingerprint(self, *keys: str) -> str:
        """Hash over the given fields, or over all."""
        values = asdict(self)
        chosen = {key: values[key] for key in keys} if keys else values
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()


def packaged_domains() -> list[str]:
    """Names of the domains that come with Freshet."""
    return sorted(Path(str(entry)).stem for entry in files("assets.domains").iterdir() if entry.name.endswith(".toml"))


def load_domain(name_or_path: str) -> Domain:
    """Load a packaged domain by its name, or any TOML file by its path.

    Raises:
        ConfigurationError: no such domain, the file is no TOML, or a key is unknown.
    """
    if name_or_path in packaged_domains():
        text = files("assets.domains").joinpath(f"{name_or_path}.toml").read_text(encoding="utf-8")
    elif Path(name_or_path).is_file():
        text = Path(name_or_path).read_text(encoding="utf-8")
    else:
        raise ConfigurationError(
            f"no domain {name_or_path!r}: give the path of a TOML file or one of {', '.join(packaged_domains())}"
        )
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"domain {name_or_path!r} is not valid TOML: {error}") from error
    known = {entry.name for entry in fields(Domain)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigurationError(f"domain {name_or_path!r} has unknown keys {unknown}; known are {sorted(known)}")
    return Domain(**{"name": Path(name_or_path).stem, **values})
