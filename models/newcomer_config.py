"""Settings of how items without interactions find their place among the others."""

from dataclasses import dataclass

from models.errors import ConfigurationError


@dataclass(frozen=True)
class NewcomerConfig:
    """Settings of `models.newcomers`."""

    lift: float | None = None
    """Added to the log odds that a user takes a new item: 0 shows it where its chance is that of the item which makes
    room, more shows it earlier. None: new items compete by the fused score, as far as text alone earns one."""
    neighbours: int = 20
    """Items nearest in text that lend a new item their scores."""
    temperature: float = 0.1
    """A neighbour counts `exp(similarity / temperature)`."""
    proposals: int = 100
    """New items that each retriever with a sense of text proposes to a user."""
    users: int = 3_000
    """Validation users, at most, that the chances are fitted on."""

    def __post_init__(self) -> None:
        for name in ("neighbours", "proposals", "users"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"newcomers.{name} must be at least 1, not {getattr(self, name)}")
        if self.temperature <= 0:
            raise ConfigurationError(f"newcomers.temperature must be above 0, not {self.temperature}")

    @property
    def is_on(self) -> bool:
        """Whether new items are placed by their chances."""
        return self.lift is not None
