"""A walk over the knowledge graph: from the items of a history by shared users, brand and category to other items.

The graph has items, users, brands and categories. One step leads from an item along one kind of edge to another item:

- co-purchase: to a user of the item and on to one of the user's items, at random (P3), where an item of popularity p is
  taken `p ** -damping` times as often as it would be (RP3beta, Paudel, Christoffel, Newell and Bernstein 2016);
- brand, category, or both at once: to another member of the group, with odds `(popularity + 1) ** popularity_power`.

Brands and categories need no interactions, so an item that nobody has touched is reached as soon as the catalogue names
its brand or category. Memory: `neighbours` weights per item, and a few numbers per item for each kind of group; the
pairs inside a group are never listed.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from scipy import sparse

from models.catalogue import Catalogue
from models.co_occurrence import strongest_in_rows
from models.errors import ConfigurationError, NotFittedError
from models.interactions import FloatArray, Histories, IntArray, InteractionLog, LongArray, ObjectArray
from models.retriever import (
    as_ids,
    history_matrix,
    latest_interactions,
    load_state,
    log_matrix,
    pair_values,
    realign,
    realign_square,
    row_map,
    save_state,
    square_arrays,
    square_matrix,
)
from models.ties import TIES, Ties, resolved_ties

ITEMS_PER_BLOCK = 2_048
NO_GROUP = -1
KINDS = ("brand", "category", "brand_in_category")


@dataclass(frozen=True)
class GraphConfig:
    """Settings of `GraphRetriever`; the shares are relative to a co-purchase step, which counts 1."""

    damping: float = 0.0
    """How much popular items are held back on co-purchase edges (beta); 0: not at all."""
    brand_share: float = 0.2
    """Weight of a step by brand."""
    category_share: float = 0.05
    """Weight of a step by category."""
    brand_in_category_share: float = 0.1
    """Weight of a step to the same brand in the same category."""
    popularity_power: float = 0.5
    """How much more often a popular member of a group is taken."""
    neighbours: int = 300
    """Co-purchase edges kept for each item."""
    max_user_items: int = 300
    """Only so many latest interactions of a user make edges, which bounds the cost of heavy users."""
    recency_decay: float = 2.0
    """A history item counts `exp(-age / decay)`, age by place from the end; 0: all alike."""
    history_length: int = 50
    """Latest interactions of a user that are read when scoring."""
    ties: Ties = "auto"
    """Whether the order of interactions of the same second is believed; see `models/ties.py`."""

    def __post_init__(self) -> None:
        if self.neighbours < 1 or self.max_user_items < 1:
            raise ConfigurationError("graph.neighbours and graph.max_user_items must be at least 1")
        if self.ties not in TIES:
            raise ConfigurationError(f"graph.ties must be ordered, unordered or auto, not {self.ties!r}")
        if min(self.brand_share, self.category_share, self.brand_in_category_share) < 0:
            raise ConfigurationError("graph.brand_share, category_share and brand_in_category_share must be at least 0")

    @property
    def shares(self) -> tuple[float, float, float]:
        """Weights of the kinds of groups, in the order of `KINDS`."""
        return self.brand_share, self.category_share, self.brand_in_category_share


class GraphRetriever:
    """Recency-weighted sum over the history of the odds to get from there to each item in one step."""

    name = "graph"

    def __init__(self, config: GraphConfig | None = None) -> None:
        self.config = config or GraphConfig()
        self._edges: sparse.csr_matrix | None = None
        self._counts: FloatArray = np.zeros(0, dtype=np.float32)
        self._groups: IntArray = np.zeros((len(KINDS), 0), dtype=np.int32)
        self._item_ids: ObjectArray = np.empty(0, dtype=object)
        self._ties: Ties = self.config.ties

    def fit(self, log: InteractionLog, catalogue: Catalogue, *, seed: int = 0) -> None:
        """Count edges block by block, so that memory stays bounded; `seed` is unused."""
        users_by_item = log_matrix(latest_interactions(log, self.config.max_user_items))
        self._counts = np.asarray(users_by_item.sum(axis=0), dtype=np.float32).ravel()
        lengths = np.asarray(users_by_item.sum(axis=1), dtype=np.float32).ravel()
        to_user = sparse.csr_matrix(sparse.diags(_inverse(self._counts)) @ users_by_item.T)
        damped = np.power(np.maximum(self._counts, 1), -self.config.damping, dtype=np.float32)
        to_item = sparse.csr_matrix(sparse.diags(_inverse(lengths)) @ users_by_item @ sparse.diags(damped))
        blocks = [
            strongest_in_rows(to_user[begin : begin + ITEMS_PER_BLOCK] @ to_item, begin, self.config.neighbours)
            for begin in range(0, log.item_count, ITEMS_PER_BLOCK)
        ]
        edges = sparse.csr_matrix(sparse.vstack(blocks), dtype=np.float32)
        totals = np.asarray(edges.sum(axis=1), dtype=np.float32).ravel()
        self._edges = sparse.csr_matrix(sparse.diags(_inverse(totals)) @ edges)
        self._groups = _groups_of(catalogue)
        self._item_ids = catalogue.item_ids
        self._ties = resolved_ties(self.config.ties, log)

    def edges(self) -> sparse.csr_matrix:
        """Odds of each co-purchase step from an item (row), which add up to 1, shape (items, items)."""
        if self._edges is None:
            raise NotFittedError("the graph retriever was used before it was fitted or loaded")
        return self._edges

    def score(self, histories: Histories) -> FloatArray:
        """Odds of a step from the history to each item."""
        edges = self.edges()
        config = self.config
        history = history_matrix(
            histories, edges.shape[0], decay=config.recency_decay, length=config.history_length, ties=self._ties
        )
        scores = np.asarray((history @ edges).toarray(), dtype=np.float32)
        for groups, share in zip(self._groups, config.shares, strict=True):
            if share:
                members, odds = self._members(groups), self._odds(groups)
                weighted = sparse.csr_matrix(members.T.multiply(share * odds[None, :]))
                scores += np.asarray(((history @ members) @ weighted).toarray(), dtype=np.float32)
        return scores

    def similarity(self, history: IntArray, items: IntArray) -> FloatArray:
        """Odds of a step between pairs of items."""
        strength: FloatArray = pair_values(self.edges(), history, items)
        for groups, share in zip(self._groups, self.config.shares, strict=True):
            is_shared = (groups[history] == groups[items]) & (groups[history] != NO_GROUP)
            strength += np.where(is_shared, np.float32(share) * self._odds(groups)[items], np.float32(0))
        return np.asarray(strength, dtype=np.float32)

    def refresh(self, catalogue: Catalogue) -> None:
        """Follow the catalogue; a new item is reached by its brand and category at once."""
        rows = row_map(self._item_ids, catalogue.item_ids)
        self._edges = realign_square(self.edges(), rows)
        self._counts = realign(self._counts, rows)
        self._groups = _groups_of(catalogue)
        self._item_ids = catalogue.item_ids

    def save(self, folder: Path) -> None:
        """Write to `folder`."""
        arrays = square_arrays(self.edges()) | {"counts": self._counts, "groups": self._groups}
        save_state(
            folder, arrays, {"config": asdict(self.config), "item_ids": self._item_ids.tolist(), "ties": self._ties}
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        arrays, facts = load_state(folder)
        model = cls(GraphConfig(**facts["config"]))
        model._item_ids = as_ids(facts["item_ids"])
        model._edges = square_matrix(arrays, len(model._item_ids))
        model._ties = facts["ties"]
        model._counts, model._groups = arrays["counts"], arrays["groups"]
        return model

    def _members(self, groups: IntArray) -> sparse.csr_matrix:
        """Which item is in which group, shape (items, groups)."""
        items = np.flatnonzero(groups != NO_GROUP)
        shape = (len(groups), int(groups.max(initial=NO_GROUP)) + 1)
        return sparse.csr_matrix((np.ones(len(items), dtype=np.float32), (items, groups[items])), shape=shape)

    def _odds(self, groups: IntArray) -> FloatArray:
        """Odds that a step within the group of an item leads to it, shape (items,)."""
        weights = np.power(self._counts + 1, self.config.popularity_power, dtype=np.float32)
        totals = np.bincount(groups[groups != NO_GROUP], weights=weights[groups != NO_GROUP], minlength=1)
        own = totals[np.maximum(groups, 0)]  # 0 where no item has a group at all
        is_member = (groups != NO_GROUP) & (own > 0)
        return np.divide(
            weights, own, out=np.zeros(len(groups), dtype=np.float32), where=is_member, casting="same_kind"
        )


def _groups_of(catalogue: Catalogue) -> IntArray:
    """Number of the group of each item, -1 where it has none, shape (kinds, items)."""
    brands, categories = catalogue.brands.astype(str), catalogue.categories.astype(str)
    brand, category = _codes(brands, brands != ""), _codes(categories, categories != "")
    both = brand * (int(category.max(initial=0)) + 1) + category
    return np.stack([brand, category, _codes(both, (brand >= 0) & (category >= 0))]).astype(np.int32)


def _codes(values: np.ndarray, is_known: np.ndarray) -> LongArray:
    codes = np.full(len(values), NO_GROUP, dtype=np.int64)
    codes[is_known] = np.unique(values[is_known], return_inverse=True)[1]
    return codes


def _inverse(values: FloatArray) -> FloatArray:
    """Reciprocals, 0 for 0."""
    result: FloatArray = np.divide(np.float32(1), values, out=np.zeros_like(values), where=values > 0)
    return result
