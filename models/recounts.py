"""What is counted anew whenever the log has grown, as files: counted once for each state of log and catalogue."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from models.interactions import LongArray
from models.recommender_config import retriever_class
from models.retriever import Retriever, load_state, save_state

RECOUNTED = ("popularity", "co_occurrence")
"""Retrievers cheap enough to be fitted again whenever the log has grown."""


@dataclass(frozen=True)
class Recounts:
    """Counts over one log and one catalogue, whose rows they have."""

    retrievers: dict[str, Retriever]
    """Those of `RECOUNTED` that the recommender has, by name."""
    item_counts: LongArray
    """Interactions of each item, shape (items,)."""

    def save(self, folder: Path) -> None:
        """Write to `folder`."""
        for name, retriever in self.retrievers.items():
            retriever.save(folder / name)
        save_state(folder, {"item_counts": self.item_counts}, {"retrievers": list(self.retrievers)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            NotFittedError: the folder holds no counts.
        """
        arrays, facts = load_state(folder)
        retrievers = {name: retriever_class(name).load(folder / name) for name in facts["retrievers"]}
        return cls(retrievers, arrays["item_counts"])
