"""Semantic IDs: a few tokens for each item, such that items with close vectors share their first tokens.

Residual quantisation (FAISS; used for recommendation in TIGER, Rajput et al., NeurIPS 2023): the first token names the
nearest of a few hundred centres, the second the nearest centre of what is left, and so on. Items whose codes collide
are told apart by one more token, a running number. A new item gets its codes from its vector, without training.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np

from models.errors import DataError
from models.faiss_backend import faiss
from models.interactions import FloatArray, IntArray, ObjectArray
from models.retriever import as_ids, in_blocks, load_state, row_map, save_state
from models.semantic_ids_config import SemanticIdConfig

NO_ID = -1
"""Stands in every token of an item without an ID."""


@dataclass(frozen=True)
class SemanticIds:
    """The quantiser and the ID of every item that it has seen."""

    config: SemanticIdConfig
    centres: FloatArray
    """Of each level, shape (levels, codes, dimension)."""
    item_ids: ObjectArray
    """All items ever given an ID, so that one that comes back has its old one."""
    tokens: IntArray
    """Codes and running number of each of `item_ids`, shape (items, levels + 1); `NO_ID` for an item without vector."""

    @classmethod
    def train(cls, item_ids: ObjectArray, vectors: FloatArray, config: SemanticIdConfig, *, seed: int) -> Self:
        """Find the centres and give every item its ID.

        Args:
            item_ids: Ids of the items.
            vectors: Their vectors, shape (items, dimension); a zero row for an item without text, which gets no ID.
            config: Size of the code space.
            seed: Of the k-means; the same input and seed give the same IDs.

        Raises:
            DataError: fewer than two items have a vector.
        """
        usable = np.ascontiguousarray(vectors[np.any(vectors != 0, axis=1)], dtype=np.float32)
        if len(usable) < 2:
            raise DataError(f"{len(usable)} items have a vector; semantic IDs need two or more")
        bits = min(config.codes.bit_length() - 1, max(int(np.log2(len(usable))) - 1, 1))
        quantizer = faiss.ResidualQuantizer(usable.shape[1], config.levels, bits)
        quantizer.cp.seed, quantizer.cp.min_points_per_centroid = seed, 1
        quantizer.max_beam_size = 1  # the codes below are greedy, so the training is too
        quantizer.train(usable)
        centres = faiss.vector_to_array(quantizer.codebooks).reshape(config.levels, 2**bits, usable.shape[1])
        empty = np.zeros((0, config.levels + 1), dtype=np.int32)
        none = np.zeros(0, dtype=object)
        return cls(config, centres.astype(np.float32), none, empty).extended(item_ids, vectors)

    @property
    def code_count(self) -> int:
        """Centres of each level."""
        return int(self.centres.shape[1])

    def extended(self, item_ids: ObjectArray, vectors: FloatArray) -> Self:
        """The same IDs, and ones for items that have none yet; nobody's ID changes.

        Args:
            item_ids: Any items, known ones among them.
            vectors: Their vectors, shape (items, dimension).

        Raises:
            DataError: the vectors have another dimension than those of the training.
        """
        if vectors.shape[1] != self.centres.shape[2]:
            raise DataError(
                f"item vectors have {vectors.shape[1]} dimensions, the semantic IDs were made of "
                f"{self.centres.shape[2]}; fit the retriever again after changing the encoder"
            )
        lacking = np.flatnonzero(self._is_lacking(item_ids) & np.any(vectors != 0, axis=1))
        if not len(lacking):
            return self
        codes = self.codes(vectors[lacking])
        used: dict[bytes, int] = {}
        for row in self.tokens:
            key = row[:-1].tobytes()
            used[key] = max(used.get(key, 0), int(row[-1]) + 1)
        numbers = np.zeros(len(codes), dtype=np.int32)
        for place, row in enumerate(codes):
            numbers[place] = used.get(row.tobytes(), 0)
            used[row.tobytes()] = int(numbers[place]) + 1
        is_room = numbers < self.config.most_collisions
        made = np.column_stack([codes, numbers]).astype(np.int32)[is_room]
        return type(self)(
            self.config,
            self.centres,
            np.concatenate([self.item_ids, item_ids[lacking[is_room]]]),
            np.concatenate([self.tokens, made]),
        )

    def codes(self, vectors: FloatArray) -> IntArray:
        """The nearest centre of each level to what the levels before it left over, shape (vectors, levels)."""
        left = np.asarray(vectors, dtype=np.float32).copy()
        found = np.zeros((len(left), len(self.centres)), dtype=np.int32)
        for level, centres in enumerate(self.centres):
            lengths = (centres**2).sum(axis=1)
            distances = in_blocks(lambda block, c=centres, n=lengths: n - 2 * (block @ c.T), left)  # type: ignore[misc]
            found[:, level] = distances.argmin(axis=1)
            left -= centres[found[:, level]]
        return found

    def of(self, item_ids: ObjectArray) -> IntArray:
        """IDs in the order of `item_ids`, shape (items, levels + 1); `NO_ID` for items that have none."""
        rows = row_map(self.item_ids, item_ids)
        if not len(self.tokens):
            return np.full((len(rows), self.tokens.shape[1]), NO_ID, dtype=np.int32)
        return np.where(rows[:, None] >= 0, self.tokens[np.maximum(rows, 0)], np.int32(NO_ID))

    def save(self, folder: Path) -> None:
        """Write to `folder`."""
        facts = {"config": asdict(self.config), "item_ids": self.item_ids.tolist()}
        save_state(folder, {"centres": self.centres, "tokens": self.tokens}, facts)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        arrays, facts = load_state(folder)
        config = SemanticIdConfig(**facts["config"])
        return cls(config, arrays["centres"], as_ids(facts["item_ids"]), arrays["tokens"])

    def _is_lacking(self, item_ids: ObjectArray) -> np.ndarray:
        return row_map(self.item_ids, item_ids) < 0
