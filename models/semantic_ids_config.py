"""Size of the code space of semantic IDs; apart from them, so that reading a configuration loads no FAISS."""

from dataclasses import dataclass

from models.errors import ConfigurationError


@dataclass(frozen=True)
class SemanticIdConfig:
    """Size of the code space."""

    levels: int = 3
    """Codes of an item, from coarse to fine; its running number comes on top."""
    codes: int = 256
    """Centres of each level, a power of two; a small catalogue gets fewer, at most half as many as it has items."""
    most_collisions: int = 256
    """Items that may share all their codes; those beyond have no ID."""

    def __post_init__(self) -> None:
        if self.levels < 1:
            raise ConfigurationError(f"semantic_ids.levels is {self.levels}; it must be 1 or more")
        if self.codes < 2 or self.codes & (self.codes - 1):
            raise ConfigurationError(f"semantic_ids.codes is {self.codes}; it must be a power of two, 2 or more")
        if self.most_collisions < 1:
            raise ConfigurationError(f"semantic_ids.most_collisions is {self.most_collisions}; it must be 1 or more")
