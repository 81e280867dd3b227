"""What a user chose before: the answer where the same things are bought again and again.

The personal top frequency of next-basket recommendation, which most published neural models do not reach (Li, Jullien,
Ariannezhad and de Rijke, "A Next Basket Recommendation Reality Check", TOIS 2023), with a decay by age (Hu, He, Gao and
Zhang, "Modeling Personalized Item Frequency Information for Next-basket Recommendation", SIGIR 2020). There is nothing
to learn: all that is scored stands in the user's own history.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from scipy import sparse

from models.catalogue import Catalogue
from models.errors import ConfigurationError, NotFittedError
from models.interactions import FloatArray, Histories, IntArray, InteractionLog
from models.retriever import load_state, save_state, weighted_histories

DAY_SECONDS = 86_400


@dataclass(frozen=True)
class RepeatConfig:
    """Settings of `RepeatRetriever`."""

    half_life_days: float = 90.0
    """An interaction counts half after so many days before the user's last one."""
    history_length: int = 1_000
    """Latest interactions of a user that are read when scoring."""

    def __post_init__(self) -> None:
        if self.half_life_days <= 0:
            raise ConfigurationError(f"repeat.half_life_days must be positive, not {self.half_life_days}")
        if self.history_length < 1:
            raise ConfigurationError(f"repeat.history_length must be at least 1, not {self.history_length}")


class RepeatRetriever:
    """Sum of the weights of a user's own interactions with an item, with exponential decay by age."""

    name = "repeat"

    def __init__(self, config: RepeatConfig | None = None) -> None:
        self.config = config or RepeatConfig()
        self._item_count: int | None = None

    def fit(self, log: InteractionLog, catalogue: Catalogue, *, seed: int = 0) -> None:
        """Bind to the catalogue; `log` and `seed` are unused."""
        self._item_count = catalogue.count

    def item_count(self) -> int:
        """Items of the catalogue that it is bound to."""
        if self._item_count is None:
            raise NotFittedError("the repeat retriever was used before it was fitted or loaded")
        return self._item_count

    def score(self, histories: Histories) -> FloatArray:
        """How often and how lately each item was chosen; 0 for what the user never chose."""
        return np.asarray(self.sparse_scores(histories).toarray(), dtype=np.float32)

    def sparse_scores(self, histories: Histories) -> sparse.csr_matrix:
        """The scores of `score` without its zeros, shape (users, items)."""
        latest = histories.last(self.config.history_length)
        age = (latest.event_ats[:, -1:] - latest.event_ats) / DAY_SECONDS
        decayed = latest.weights * np.exp2(-age / self.config.half_life_days).astype(np.float32)
        return weighted_histories(latest, decayed, self.item_count())

    def similarity(self, history: IntArray, items: IntArray) -> FloatArray:
        """1 for an item and itself, else 0."""
        return np.asarray(history == items, dtype=np.float32)

    def refresh(self, catalogue: Catalogue) -> None:
        """Follow the catalogue."""
        self.item_count()
        self._item_count = catalogue.count

    def save(self, folder: Path) -> None:
        """Write to `folder`."""
        save_state(folder, {}, {"config": asdict(self.config), "item_count": self.item_count()})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        _, facts = load_state(folder)
        model = cls(RepeatConfig(**facts["config"]))
        model._item_count = facts["item_count"]
        return model
