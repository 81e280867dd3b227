"""Recent popularity: the floor that every model must beat, and the answer for users without a history."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np

from models.catalogue import Catalogue
from models.errors import ConfigurationError, NotFittedError
from models.interactions import FloatArray, Histories, IntArray, InteractionLog, ObjectArray
from models.retriever import as_ids, load_state, realign, row_map, save_state

DAY_SECONDS = 86_400
GLOBAL_SHARE = 0.01
"""How much global popularity is added to a segment's own, so that its gaps are filled in a sensible order."""


@dataclass(frozen=True)
class PopularityConfig:
    """Settings of `PopularityRetriever`."""

    half_life_days: float = 90.0
    """An interaction counts half after so many days before the end of the log."""
    min_segment_interactions: int = 100
    """A segment with fewer interactions takes the global popularity."""

    def __post_init__(self) -> None:
        if self.half_life_days <= 0:
            raise ConfigurationError(f"popularity.half_life_days must be positive, not {self.half_life_days}")


class PopularityRetriever:
    """Sum of interaction weights with exponential decay by age, by segment of the user, scaled to at most 1."""

    name = "popularity"

    def __init__(self, config: PopularityConfig | None = None) -> None:
        self.config = config or PopularityConfig()
        self._segments: list[str] = []
        self._table: FloatArray | None = None
        self._item_ids: ObjectArray = np.empty(0, dtype=object)

    def fit(self, log: InteractionLog, catalogue: Catalogue, *, seed: int = 0) -> None:
        """Count; `seed` is unused."""
        end = int(log.event_ats.max(initial=0))
        decayed = log.weights * np.exp2(-(end - log.event_ats) / (self.config.half_life_days * DAY_SECONDS))
        segments, segment_of_user = np.unique(log.segments.astype(str), return_inverse=True)
        segment_rows = segment_of_user[log.user_rows]
        flat = np.bincount(
            segment_rows * np.int64(log.item_count) + log.item_rows,
            weights=decayed,
            minlength=len(segments) * log.item_count,
        )
        counts = np.bincount(segment_rows, minlength=len(segments))
        by_segment = flat.reshape(len(segments), log.item_count)
        everyone = _to_unit(by_segment.sum(axis=0))
        chosen = [
            row
            for row, segment in enumerate(segments)
            if segment and counts[row] >= self.config.min_segment_interactions
        ]
        rows = [_to_unit(_to_unit(by_segment[row]) + GLOBAL_SHARE * everyone) for row in chosen]
        self._segments = [str(segments[row]) for row in chosen]
        self._table = np.stack([everyone, *rows]).astype(np.float32)
        self._item_ids = catalogue.item_ids

    def table(self) -> tuple[list[str], FloatArray]:
        """Segments (the first is empty: everyone) and their scores, shape (segments, items)."""
        if self._table is None:
            raise NotFittedError("the popularity retriever was used before it was fitted or loaded")
        return ["", *self._segments], self._table

    def segment_rows(self, segments: ObjectArray) -> IntArray:
        """Row of `table` for each segment name; 0 (everyone) for an unknown or small segment."""
        rows = {segment: row for row, segment in enumerate(self.table()[0])}
        return np.array([rows.get(segment, 0) for segment in segments], dtype=np.int32)

    def score(self, histories: Histories) -> FloatArray:
        """Popularity in the segment of each user; the history plays no part."""
        return self.table()[1][self.segment_rows(histories.segments)]

    def refresh(self, catalogue: Catalogue) -> None:
        """Follow the catalogue; a new item has popularity 0 until it is fitted again."""
        table = self.table()[1]
        self._table = np.ascontiguousarray(realign(table.T, row_map(self._item_ids, catalogue.item_ids)).T)
        self._item_ids = catalogue.item_ids

    def save(self, folder: Path) -> None:
        """Write to `folder`."""
        facts = {"config": asdict(self.config), "segments": self._segments, "item_ids": self._item_ids.tolist()}
        save_state(folder, {"table": self.table()[1]}, facts)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        arrays, facts = load_state(folder)
        model = cls(PopularityConfig(**facts["config"]))
        model._segments, model._table = facts["segments"], arrays["table"]
        model._item_ids = as_ids(facts["item_ids"])
        return model


def _to_unit(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    highest = values.max(initial=0.0)
    return values / highest if highest > 0 else values
