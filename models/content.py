"""Content: items whose text is close to the texts of the history. Works for an item nobody has touched yet."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np

from models.catalogue import Catalogue
from models.errors import ConfigurationError, DataError, NotFittedError
from models.exact_products import exact_products
from models.fusion import ndcg_by_user
from models.interactions import PADDING, FloatArray, Histories, InteractionLog, ObjectArray
from models.retriever import BLOCK, as_ids, history_matrix, load_state, save_state
from models.splitting import Holdout

CONTENT = "content"
"""What configurations call the retriever."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
CHOICE_USERS, CHOICE_K = 2_000, 10
"""Validation users and cut-off that the share of the short-term profile is chosen by."""


@dataclass(frozen=True)
class ContentConfig:
    """Settings of `ContentRetriever`."""

    recency_decay: float = 1.0
    """A history item counts `exp(-age / decay)`, age by place from the end; 0: all alike."""
    history_length: int = 50
    """Latest interactions of a user that are read when scoring."""
    short_share: float = 1.0
    """Share of the short-term profile (recency-weighted) in the user's vector; the rest is the mean of the history."""
    is_share_chosen: bool = False
    """Whether `short_share` is the one of 0, .25, .5, .75 and 1 that ranks validation users best."""
    is_centred: bool = True
    """Subtract the mean vector of the catalogue first, which spreads vectors that crowd into a cone."""

    def __post_init__(self) -> None:
        if not 0 <= self.short_share <= 1:
            raise ConfigurationError(f"content.short_share must be between 0 and 1, not {self.short_share}")


class ContentRetriever:
    """Dot product of an item's text vector with a profile of the user's texts.

    The profile is P = a * H + (1 - a) * L: H the recency-weighted mean of the history (with a decay of d, the running
    average P <- b * h + (1 - b) * P with b = 1 - exp(-1 / d)), L the mean of all of it, both of unit length. It is a
    pure function of the history, so nothing has to be kept between events.
    """

    name = CONTENT

    def __init__(self, config: ContentConfig | None = None) -> None:
        self.config = config or ContentConfig()
        self.short_share = self.config.short_share
        """The share in use: the configured one, or the one that was chosen on validation."""
        self._centre: FloatArray | None = None
        self._vectors: FloatArray = np.empty((0, 0), dtype=np.float32)
        self._item_ids: ObjectArray = np.empty(0, dtype=object)

    def fit(
        self,
        log: InteractionLog,
        catalogue: Catalogue,
        *,
        seed: int = 0,
        validation: Holdout | None = None,
        short_share: float | None = None,
    ) -> None:
        """Take the centre of the catalogue's vectors; neither the log nor `seed` is used.

        Args:
            log: Unused.
            catalogue: With embeddings.
            seed: Unused.
            validation: What `short_share` is chosen on where the configuration says so.
            short_share: Take this one, such as that of an earlier fit.

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
        if short_share is not None:
            self.short_share = short_share
        elif self.config.is_share_chosen and validation is not None and validation.count:
            self.short_share = self._best_share(validation, catalogue)

    def user_vectors(self, histories: Histories) -> FloatArray:
        """The profile, of unit length; zero without a text in the history."""
        share = np.float32(self.short_share)
        if share == 1:
            return self._mean(histories, self.config.recency_decay)
        short, long = self._mean(histories, self.config.recency_decay), self._mean(histories, 0.0)
        return _to_unit(share * short + (1 - share) * long)

    def item_vectors(self) -> FloatArray:
        """Centred text vectors of unit length, shape (items, dimension)."""
        if self._centre is None:
            raise NotFittedError("the content retriever was used before it was fitted or loaded")
        return self._vectors

    def score(self, histories: Histories) -> FloatArray:
        """Cosine between the user's mean text and each item's text."""
        return exact_products(self.user_vectors(histories), self.item_vectors())

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
        facts = {
            "config": asdict(self.config),
            "short_share": self.short_share,
            "item_ids": self._item_ids.tolist(),
        }
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
        model.short_share = facts.get("short_share", model.config.short_share)
        return model

    def _mean(self, histories: Histories, decay: float) -> FloatArray:
        vectors = self.item_vectors()
        history = history_matrix(histories, len(vectors), decay=decay, length=self.config.history_length)
        return _to_unit(np.asarray(history @ vectors, dtype=np.float32))

    def _best_share(self, validation: Holdout, catalogue: Catalogue) -> float:
        """The share with the highest NDCG on the first validation users, the largest one on ties."""
        users = np.arange(min(validation.count, CHOICE_USERS))
        histories = validation.history.histories(validation.user_rows[users])
        available = validation.available(catalogue)

        def quality(share: float) -> float:
            self.short_share = share
            values = np.zeros(len(users))
            for begin in range(0, len(users), BLOCK):
                part = histories.of_users(slice(begin, begin + BLOCK))
                scores = np.where(available, self.score(part), np.float32(-np.inf))
                known = part.items != PADDING
                scores[np.nonzero(known)[0], part.items[known]] = -np.inf
                block = validation.targets.select(users[begin : begin + BLOCK])
                places = block.item_rows.astype(np.int64)
                values[begin : begin + BLOCK] = ndcg_by_user(scores, places, block, k=CHOICE_K)
            return float(values.mean())

        return max(reversed(SHARES), key=quality)


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
