"""The IDs that exist, as a tree: which token may follow a prefix so that it stays the beginning of an item's ID."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from models.interactions import BoolArray, IntArray, LongArray
from models.semantic_ids import NO_ID


@dataclass(frozen=True)
class PrefixTrie:
    """Nodes of each depth are numbered in lexical order of their prefixes; the root is node 0 of depth 0.

    Memory is proportional to the number of items times the length of an ID.
    """

    width: int
    """More than the largest token."""
    keys: tuple[LongArray, ...]
    """For each depth from 1: `parent * width + token` of every node, ascending."""
    items: LongArray
    """Item row of each node of the last depth."""

    @classmethod
    def build(cls, tokens: IntArray) -> Self:
        """From the IDs of all items, shape (items, length); items with `NO_ID` are left out."""
        rows = np.flatnonzero((tokens != NO_ID).all(axis=1)).astype(np.int64)
        order = np.lexsort(tokens[rows].T[::-1])
        rows, ordered = rows[order], tokens[rows[order]].astype(np.int64)
        width = int(ordered.max(initial=0)) + 1
        keys, parents = [], np.zeros(len(rows), dtype=np.int64)
        for column in ordered.T:
            level, parents = np.unique(parents * width + column, return_inverse=True)
            keys.append(level.astype(np.int64))
        return cls(width, tuple(keys), rows)

    def allowed(self, depth: int, nodes: LongArray, width: int) -> BoolArray:
        """Which tokens may follow.

        Args:
            depth: Tokens taken so far.
            nodes: Nodes of that depth, any shape (n,); a negative one has no continuation.
            width: Number of tokens at the next place.

        Returns:
            Mask of shape (n, width).
        """
        keys = self.keys[depth]
        begins = np.searchsorted(keys, nodes * self.width)
        counts = np.searchsorted(keys, (nodes + 1) * self.width) - begins
        counts = np.where(nodes < 0, 0, counts)
        owner = np.repeat(np.arange(len(nodes)), counts)
        place = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(begins, counts)
        mask = np.zeros((len(nodes), width), dtype=bool)
        mask[owner, keys[place] % self.width] = True
        return mask

    def child(self, depth: int, nodes: LongArray, tokens: LongArray) -> LongArray:
        """Node reached from each node by its token; -1 where there is none."""
        keys, wanted = self.keys[depth], nodes * self.width + tokens
        found = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
        is_there = (nodes >= 0) & (keys[found] == wanted) if len(keys) else np.zeros(len(nodes), dtype=bool)
        return np.where(is_there, found, -1).astype(np.int64)
