"""FAISS indexes over the item vectors of each vector retriever: exact while small, inverted lists above.

One `ItemIndex` holds one index per vector retriever, all under the same labels, so that each retriever can propose
its own candidates and no index depends on the fusion weights. Items are added and removed without a rebuild.

An item of which a retriever knows nothing has a vector of zeros. Inverted lists leave it out, so its label is never
found there. The exact search keeps it, with a score of 0, since it promises what sorting all scores gives.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from models.errors import ConfigurationError, DataError, NotFittedError
from models.exact_search import search_exactly
from models.faiss_backend import faiss
from models.index_files import read_facts, read_index, write_index
from models.interactions import PADDING, BoolArray, FloatArray, IntArray, LongArray, ObjectArray
from models.inverted_lists import InvertedLists

RECALL_SLACK = 0.05
"""How far recall may fall below its target before an index is built anew: what some 30 % items of a new kind cost
(`benchmarks/index_drift.py`)."""


@dataclass(frozen=True)
class IndexConfig:
    """Settings of `ItemIndex`."""

    exact_below: int = 50_000
    """Catalogues with fewer items are searched exactly."""
    recall_target: float = 0.95
    """Recall against exact search that the number of probed lists is chosen for."""
    measured_k: int = 200
    """Length of the lists on which recall is measured: about as many as a retriever proposes."""
    sample: int = 512
    """Queries on which recall is measured; those of zeros are passed over."""
    rebuild_from: float = 0.3
    """Share of empty labels from which the index is built anew. They cost memory, not recall."""

    def __post_init__(self) -> None:
        if not 0 < self.recall_target <= 1:
            raise ConfigurationError(f"index.recall_target must be above 0 and at most 1, not {self.recall_target}")


class ItemIndex:
    """Nearest items by dot product in each vector space."""

    def __init__(self, config: IndexConfig, *, model_version: str = "", snapshot: int | None = None) -> None:
        self.config = config
        self.model_version = model_version
        self.snapshot = snapshot
        self.recalls: dict[str, float] = {}
        """Recall at `measured_k` against exact search, by retriever, when the index was built."""
        self._indexes: dict[str, Any] = {}
        self._probes: dict[str, int] = {}
        self._item_ids: ObjectArray = np.empty(0, dtype=object)
        """Item id of each label; None where the item was removed. Replaced, never changed in place."""
        self._rows: tuple[ObjectArray, ObjectArray, IntArray] | None = None
        """The last answer of `catalogue_rows` and the two arrays that it is for."""

    @classmethod
    def build(
        cls,
        vectors: Mapping[str, FloatArray],
        item_ids: Sequence[str] | ObjectArray,
        *,
        config: IndexConfig,
        seed: int,
        queries: Mapping[str, FloatArray] | None = None,
        model_version: str = "",
        snapshot: int | None = None,
    ) -> Self:
        """Index all items.

        Args:
            vectors: Item vectors by retriever, each (items, dimension).
            item_ids: Item ids, aligned with the rows of the vectors.
            config: Sizes and targets.
            seed: Chooses the sample on which recall is measured, and the clustering.
            queries: User vectors by retriever to measure recall on; item vectors where all are missing or 0.
            model_version: Version of the recommender that made the vectors.
            snapshot: Lake snapshot that the vectors come from.

        Raises:
            DataError: there are no items, or vectors and ids differ in number.
        """
        if not len(item_ids):
            raise DataError("there are no items to index")
        index = cls(config, model_version=model_version, snapshot=snapshot)
        index._item_ids = np.array(list(item_ids), dtype=object)
        rng = np.random.default_rng(seed)
        for name in sorted(vectors):
            own = _checked(name, vectors[name], len(item_ids))
            index._indexes[name] = _empty_index(own, config, seed)
            index._indexes[name].add_with_ids(own, np.arange(len(own), dtype=np.int64))
            asked = _not_zero((queries or {}).get(name, own))
            asked = asked if len(asked) else _not_zero(own)
            chosen = rng.choice(len(asked), min(config.sample, len(asked)), replace=False)
            index._tune(name, np.ascontiguousarray(asked[np.sort(chosen)], dtype=np.float32))
        return index

    @property
    def names(self) -> list[str]:
        """Retrievers that have an index here."""
        return sorted(self._indexes)

    @property
    def count(self) -> int:
        """Number of items that can be found."""
        return sum(item is not None for item in self._item_ids)

    @property
    def has_many_gaps(self) -> bool:
        """Whether so many labels are empty that the index should be built anew."""
        return self.count <= (1 - self.config.rebuild_from) * len(self._item_ids)

    def is_worn(self, vectors: Mapping[str, FloatArray]) -> bool:
        """Whether it should be built anew: it has many gaps, or finds too little of `vectors`, by retriever."""
        asked = {name: _not_zero(own) for name, own in vectors.items() if name in self._probes}
        found = [
            self.measure_recall(name, own[:: max(len(own) // self.config.sample, 1)]) for name, own in asked.items()
        ]
        return self.has_many_gaps or min(found, default=1.0) < self.config.recall_target - RECALL_SLACK

    def is_exact(self, name: str) -> bool:
        """Whether the vectors of a retriever are searched without probing."""
        return name in self._indexes and not self._probes.get(name, 0)

    def catalogue_rows(self, item_ids: ObjectArray) -> IntArray:
        """Row in `item_ids` of each label, -1 for an item that is not among them; shape (labels,)."""
        if self._rows is None or self._rows[0] is not item_ids or self._rows[1] is not self._item_ids:
            if len(item_ids) == len(self._item_ids) and bool(np.all(item_ids == self._item_ids)):
                rows = np.arange(len(item_ids), dtype=np.int32)
            else:
                rows = np.asarray(pd.Index(item_ids).get_indexer(pd.Index(self._item_ids)), dtype=np.int32)
            self._rows = (item_ids, self._item_ids, rows)
        return self._rows[2]

    def search(self, name: str, queries: FloatArray, count: int, *, allowed: BoolArray | None = None) -> LongArray:
        """Labels of the nearest items for each query, best first, padded with -1.

        Args:
            name: Retriever whose vectors are searched.
            queries: User vectors, shape (users, dimension).
            count: How many; more than there are items is fine.
            allowed: Labels that may be found, shape (labels,); all when None. The fewer there are, the more lists are
                probed, since the nearest of them lie farther apart.

        Returns:
            Shape (users, min(count, items)), where inverted lists count only the items that have a vector there.
        """
        if name not in self._indexes:
            raise NotFittedError(f"the index has no vectors of {name!r}, only of {', '.join(self.names) or 'nothing'}")
        return self._search(name, queries, count, self._probes.get(name, 0), allowed)

    def measure_recall(self, name: str, queries: FloatArray, *, k: int | None = None) -> float:
        """Share of the exact `k` nearest items that the index finds, on average over the queries that are not 0.

        All items are as near to a query of zeros, such as that of a user without history or a cold item.
        """
        if name not in self._probes:
            return 1.0
        queries = _not_zero(queries)
        return self._recall(name, queries, self._exact(name, queries, k or self.config.measured_k))

    def add(self, item_ids: Sequence[str] | ObjectArray, vectors: Mapping[str, FloatArray]) -> None:
        """Add items, replacing those already there, without a rebuild.

        Raises:
            DataError: vectors of a retriever are missing or do not fit.
        """
        missing = set(self._indexes) - set(vectors)
        if missing:
            raise DataError(f"vectors of {sorted(missing)} are missing; an item is added to every index at once")
        own = {name: _checked(name, vectors[name], len(item_ids)) for name in self._indexes}
        for name, index in self._indexes.items():
            if own[name].shape[1] != index.d:
                raise DataError(f"vectors of {name!r} have {own[name].shape[1]} dimensions, the index has {index.d}")
        if not len(item_ids):
            return
        self.remove(item_ids)
        labels = np.arange(len(self._item_ids), len(self._item_ids) + len(item_ids), dtype=np.int64)
        for name, index in self._indexes.items():
            index.add_with_ids(own[name], labels)
        self._item_ids = np.concatenate([self._item_ids, np.array(list(item_ids), dtype=object)])

    def remove(self, item_ids: Sequence[str] | ObjectArray) -> None:
        """Remove items without a rebuild; unknown ids are ignored, so that a removal can be repeated."""
        gone = set(item_ids)
        labels = np.array([row for row, item in enumerate(self._item_ids) if item in gone], dtype=np.int64)
        if not len(labels):
            return
        for index in self._indexes.values():
            index.remove_ids(labels)
        self._item_ids = self._item_ids.copy()
        self._item_ids[labels] = None

    def save(self, folder: Path) -> str:
        """Write one file per retriever and `index.json`; returns the content version (a hash over both)."""
        facts = {
            "config": asdict(self.config),
            "model_version": self.model_version,
            "snapshot": self.snapshot,
            "item_ids": self._item_ids.tolist(),
            "probes": self._probes,
            "recalls": self.recalls,
        }
        return write_index(folder, self._indexes, facts)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            NotFittedError: there is no index in `folder`, or one of an earlier version.
            DataError: a file is missing or differs from what was saved.
        """
        facts = read_facts(folder)
        index = cls(IndexConfig(**facts["config"]), model_version=facts["model_version"], snapshot=facts["snapshot"])
        index._item_ids = np.array(facts["item_ids"], dtype=object)
        index._probes, index.recalls = facts["probes"], facts["recalls"]
        index._indexes = read_index(folder, facts)
        return index

    def content_version(self) -> str:
        """The version that `save` would return."""
        with tempfile.TemporaryDirectory() as folder:
            return self.save(Path(folder))

    def _tune(self, name: str, queries: FloatArray) -> None:
        """Double the probed lists until the recall target is met on the sample, which has no queries of zeros."""
        index = self._indexes[name]
        self.recalls[name] = 1.0
        if not isinstance(index, InvertedLists):
            return
        self._probes[name] = 1
        exact = self._exact(name, queries, self.config.measured_k)
        self.recalls[name] = self._recall(name, queries, exact)
        while self.recalls[name] < self.config.recall_target and self._probes[name] < index.nlist:
            self._probes[name] = min(self._probes[name] * 2, index.nlist)
            self.recalls[name] = self._recall(name, queries, exact)

    def _exact(self, name: str, queries: FloatArray, count: int) -> LongArray:
        """What `search` would find if all lists were probed."""
        return self._search(name, queries, count, self._indexes[name].nlist)

    def _recall(self, name: str, queries: FloatArray, exact: LongArray) -> float:
        """Share of the exact labels that are found, 1 where there are none."""
        if not exact.size:
            return 1.0
        found = self.search(name, queries, exact.shape[1])
        shared = [len(np.intersect1d(a, b)) for a, b in zip(exact, found, strict=True)]
        return float(np.mean(shared) / exact.shape[1])

    def _search(
        self, name: str, queries: FloatArray, count: int, probes: int, allowed: BoolArray | None = None
    ) -> LongArray:
        index = self._indexes[name]
        size = min(count, index.ntotal)
        if not size or not len(queries):
            return np.full((len(queries), size), PADDING, dtype=np.int64)
        if isinstance(index, InvertedLists):
            return index.search(queries, size, probes=probes, allowed=allowed)
        return search_exactly(index, queries, size, allowed)


def _not_zero(vectors: FloatArray) -> FloatArray:
    return vectors[vectors.any(axis=1)]


def _checked(name: str, vectors: FloatArray, count: int) -> FloatArray:
    if vectors.ndim != 2 or len(vectors) != count:
        raise DataError(f"vectors of {name!r} have shape {vectors.shape} for {count} items")
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise DataError(f"vector of item row {row} of {name!r} holds NaN or infinite values")
    return np.ascontiguousarray(vectors, dtype=np.float32)


def _empty_index(vectors: FloatArray, config: IndexConfig, seed: int) -> Any:
    """A trained index without items: flat, or inverted lists."""
    if len(vectors) < config.exact_below:
        return faiss.IndexIDMap2(faiss.IndexFlatIP(vectors.shape[1]))
    return InvertedLists.trained(vectors, seed=seed)
