"""Content: items whose text is close to the texts of the history. Works for an item nobody has touched yet."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np

from models.catalogue import Catalogue
from models.errors import DataError, NotFittedError
from models.interactions import FloatArray, Histories, InteractionLog, ObjectArray
from models.retriever import as_ids, dot_scores, history_matrix, load_state, save_state


@dataclass(frozen=True)
class ContentConfig:
    """Settings of `ContentRetriever`."""

    recency_decay: float = 1.0
    """A history item counts `exp(-age / decay)`, age by place from the end; 0: all alike."""
    history_length: int = 50
    """Latest interactions of a user that are read when scoring."""
    is_centred: bool = True
    """Subtract the mean vector of the catalogue first, which spreads vectors that crowd into a cone."""


class ContentRetriever:
    """Dot product of an item's text vector with the recency-weighted mean of those of the history."""

    name = "content"

    def __init__(self, config: ContentConfig | None = None) -> None:
        self.config = config or ContentConfig()
        self._centre: FloatArray | None = None
        self._vectors: FloatArray = np.empty((0, 0), dtype=np.float32)
        self._item_ids: ObjectArray = np.empty(0, dtype=object)

    def fit(self, log: InteractionLog, catalogue: Catalogue, *, seed: int = 0) -> None:
        """Take the centre of the catalogue's vectors; neither the log nor `seed` is used.

        Raises:
            DataError: the catalogue has no embeddings.
        """
        embeddings = _embeddings(catalogue)
        has_text = np.linalg.norm(embeddings, axis=1) > 0
        centre = embeddings[has_text].mean(axis=0, dtype=np.float64) if has_text.any() else 0
        # The mean of a tiny catalogue says nothing about the language, and with one item it is the item itself.
        is_centred = self.config.is_centred and int(has_text.sum()) > 2 * embeddings.shape[1]
        self._centre = np.asarray(centre * np.ones(embeddings.shape[1]) * is_centred, dtype=np.float32)
        self.refresh(catalogue)

    def user_vectors(self, histories: Histories) -> FloatArray:
        """Recency-weighted mean of the history's vectors, of unit length; zero without a text in the history."""
        vectors = self.item_vectors()
        history = history_matrix(
            histories, len(vectors), decay=self.config.recency_decay, length=self.config.history_length
        )
        return _to_unit(np.asarray(history @ vectors, dtype=np.float32))

    def item_vectors(self) -> FloatArray:
        """Centred text vectors of unit length, shape (items, dimension)."""
        if self._centre is None:
            raise NotFittedError("the content retriever was used before it was fitted or loaded")
        return self._vectors

    def score(self, histories: Histories) -> FloatArray:
        """Cosine between the user's mean text and each item's text."""
        return dot_scores(self.user_vectors(histories), self.item_vectors())

    def refresh(self, catalogue: Catalogue) -> None:
        """Take the vectors of a changed catalogue; a new item is scored by its text at once.

        Raises:
            DataError: the catalogue has no embeddings, or they come from an encoder of another dimension.
        """
        embeddings = _embeddings(catalogue)
        if self._centre is None:
            raise NotFittedError("the content retriever was refreshed before it was fitted or loaded")
        if embeddings.shape[1] != len(self._centre):
            raise DataError(
                f"item embeddings have {embeddings.shape[1]} dimensions, the content retriever was fitted on "
                f"{len(self._centre)}; fit it again after changing the encoder"
            )
        has_text = np.linalg.norm(embeddings, axis=1) > 0
        self._vectors = _to_unit(np.where(has_text[:, None], embeddings - self._centre, np.float32(0)))
        self._item_ids = catalogue.item_ids

    def save(self, folder: Path) -> None:
        """Write to `folder`."""
        facts = {"config": asdict(self.config), "item_ids": self._item_ids.tolist()}
        vectors = self.item_vectors()
        centre = self._centre if self._centre is not None else np.zeros(vectors.shape[1], dtype=np.float32)
        save_state(folder, {"centre": centre, "vectors": vectors}, facts)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        arrays, facts = load_state(folder)
        model = cls(ContentConfig(**facts["config"]))
        model._centre, model._vectors = arrays["centre"], arrays["vectors"]
        model._item_ids = as_ids(facts["item_ids"])
        return model


def _embeddings(catalogue: Catalogue) -> FloatArray:
    if catalogue.embeddings is None:
        raise DataError(
            "the catalogue has no embeddings, which the content retriever needs; "
            "materialise item_embeddings or take 'content' out of the retrievers"
        )
    return catalogue.embeddings


def _to_unit(vectors: FloatArray) -> FloatArray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 1e-12), dtype=np.float32)
