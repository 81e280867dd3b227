"""What a search for hyper-parameters may set, how a configuration takes it, and the fragment of TOML that keeps it.

How long something trains is a budget and no dimension: more epochs would win every time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from models.errors import ConfigurationError
from models.recommender_config import RecommenderConfig

Value = float | int | str
FUSION = "fusion"
"""Target of a search over all configured retrievers at once, measured by their fused lists."""


@dataclass(frozen=True)
class Dimension:
    """Values that one setting may take: a range of numbers with both ends, or choices."""

    low: float = 0.0
    high: float = 0.0
    is_log: bool = False
    """Search the logarithm: for what spans orders of magnitude."""
    is_integer: bool = False
    choices: tuple[str, ...] = ()

    def containing(self, value: Value) -> "Dimension":
        """The same dimension, widened to hold `value`."""
        if self.choices:
            return self if value in self.choices else replace(self, choices=(*self.choices, str(value)))
        number = float(value)
        low = min(self.low, number)
        return replace(self, low=low, high=max(self.high, number), is_log=self.is_log and low > 0)


SPACE: dict[str, dict[str, Dimension]] = {
    "popularity": {"half_life_days": Dimension(1.0, 730.0, is_log=True)},
    "repeat": {"half_life_days": Dimension(7.0, 730.0, is_log=True)},
    "co_occurrence": {
        "neighbours": Dimension(20, 400, is_log=True, is_integer=True),
        "recency_decay": Dimension(0.5, 8.0, is_log=True),
    },
    "content": {"recency_decay": Dimension(0.5, 8.0, is_log=True)},
    "als": {
        "embedding_size": Dimension(32, 128, is_log=True, is_integer=True),
        "regularization": Dimension(0.01, 100.0, is_log=True),
        "alpha": Dimension(1.0, 100.0, is_log=True),
        "recency_decay": Dimension(0.5, 8.0, is_log=True),
    },
    "ease": {
        "regularization": Dimension(10.0, 2000.0, is_log=True),
        "recency_decay": Dimension(0.5, 8.0, is_log=True),
    },
    "sequence": {
        "blocks": Dimension(1, 2, is_integer=True),
        "dropout": Dimension(0.1, 0.7),
        "attention_dropout": Dimension(0.0, 0.6),
        "temperature": Dimension(0.04, 0.2, is_log=True),
        "frequency_share": Dimension(0.0, 0.9),
        "learning_rate": Dimension(5e-4, 5e-3, is_log=True),
        "norm": Dimension(choices=("pre", "post")),
    },
}
"""Dimensions by section of `RecommenderConfig`, then by field."""


def space_of(config: RecommenderConfig, target: str) -> dict[str, Dimension]:
    """Dimensions by dotted name, such as `ease.regularization`.

    Args:
        config: Its retrievers are searched.
        target: `fusion` for all of them that have something to do, or one.

    Raises:
        ConfigurationError: the target is not configured, or has nothing to search.
    """
    if target != FUSION and target not in config.retrievers:
        raise ConfigurationError(f"search target {target!r} must be {FUSION} or one of {', '.join(config.retrievers)}")
    at_work = [name for name in config.retrievers if config.reason_to_rest(name) is None]
    sections = at_work if target == FUSION else [target]
    found = {f"{name}.{field}": one for name in sections for field, one in SPACE.get(name, {}).items()}
    if not found:
        raise ConfigurationError(f"{target} has no hyper-parameters in the search space; it has those of {list(SPACE)}")
    return found


def values_of(config: RecommenderConfig, space: Mapping[str, Dimension]) -> dict[str, Value]:
    """The values in force of all dimensions."""
    pairs = {name: name.split(".") for name in space}
    return {name: getattr(getattr(config, section), field) for name, (section, field) in pairs.items()}


def with_values(config: RecommenderConfig, values: Mapping[str, Value]) -> RecommenderConfig:
    """The configuration with other values, by dotted name.

    Raises:
        ConfigurationError: a value does not fit its setting.
    """
    for name, value in values.items():
        section, field = name.split(".")
        config = replace(config, **{section: replace(getattr(config, section), **{field: value})})
    return config


def toml_fragment(values: Mapping[str, Value]) -> str:
    """The values as tables `[recommender.SECTION]` of a domain's file."""
    lines: list[str] = []
    sections = dict.fromkeys(name.split(".")[0] for name in values)
    for section in sections:
        lines.append(f"[recommender.{section}]")
        for name, value in values.items():
            if name.startswith(f"{section}."):
                shown = f'"{value}"' if isinstance(value, str) else repr(value)
                lines.append(f"{name.split('.')[1]} = {shown}")
        lines.append("")
    return "\n".join(lines)
