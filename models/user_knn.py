"""User neighbourhoods (UserKNN): what people with a similar history took, or how they rated it.

Similarities are found for a history, not for a user id, so a user that training never saw has neighbours at once. The
fitted model holds the interactions of at most `max_users` users, without their ids: erasing a user means fitting again.

Memory: the stored interactions (8 bytes each), and while scoring `BLOCK * max_users * 4` bytes for each of up to four
dense blocks of similarities (51 MB each at 200,000 users).
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from scipy import sparse

from models.catalogue import Catalogue
from models.errors import ConfigurationError, NotFittedError
from models.interactions import PADDING, FloatArray, Histories, InteractionLog, ObjectArray
from models.retriever import (
    BLOCK,
    as_ids,
    history_matrix,
    latest_interactions,
    load_state,
    log_matrix,
    row_map,
    save_state,
)
from models.top_rows import top_rows


@dataclass(frozen=True)
class UserKNNConfig:
    """Settings of `UserKNNRetriever`."""

    similarity: Literal["cosine", "pearson"] = "cosine"
    """Of two histories. Of votes, pearson is the correlation over the whole catalogue; of values, over shared items."""
    prediction: Literal["vote", "centred"] = "vote"
    """vote: sum of similarity times weight. centred: the user's mean value plus the neighbours' mean deviations, which
    needs weights that are ratings."""
    neighbours: int = 100
    """Most similar users that are asked."""
    shrinkage: float = 0.0
    """A similarity that rests on n shared items counts `n / (n + shrinkage)`."""
    recency_decay: float = 2.0
    """For votes, an item of the user's history counts `exp(-age / decay)`; 0: all alike."""
    history_length: int = 50
    """Latest interactions of a user that are read when scoring."""
    max_user_items: int = 300
    """Only so many latest interactions of a neighbour are kept."""
    max_users: int = 200_000
    """Users kept as neighbours: those that were active last."""

    def __post_init__(self) -> None:
        if self.similarity not in ("cosine", "pearson"):
            raise ConfigurationError(f"user_knn.similarity must be cosine or pearson, not {self.similarity!r}")
        if self.prediction not in ("vote", "centred"):
            raise ConfigurationError(f"user_knn.prediction must be vote or centred, not {self.prediction!r}")
        if min(self.neighbours, self.max_user_items, self.max_users) < 1 or self.shrinkage < 0:
            raise ConfigurationError(
                "user_knn.neighbours, user_knn.max_user_items and user_knn.max_users must be at least 1, "
                "user_knn.shrinkage at least 0"
            )

    def reason_to_skip(self, log: InteractionLog) -> str | None:
        """Why nothing can be learned from this log, or None when it can."""
        if self.prediction == "centred" and len(log.weights) and log.weights.min() == log.weights.max():
            return "all interactions have the same weight, so there are no ratings; set user_knn.prediction to 'vote'"
        return None


class UserKNNRetriever:
    """Asks the most similar users of the training log; see `UserKNNConfig.prediction` for the two formulas."""

    name = "user_knn"

    def __init__(self, config: UserKNNConfig | None = None) -> None:
        self.config = config or UserKNNConfig()
        self._values: sparse.csr_matrix | None = None
        self._item_ids: ObjectArray = np.empty(0, dtype=object)

    def fit(self, log: InteractionLog, catalogue: Catalogue, *, seed: int = 0) -> None:
        """Keep the interactions; `seed` is unused."""
        latest = latest_interactions(log, self.config.max_user_items)
        values = log_matrix(latest, is_binary=False)
        if self.config.prediction == "centred":
            values = _mean_of_repeats(values, latest)
        has_items = np.flatnonzero(np.diff(latest.start) > 0)
        order = np.argsort(-latest.event_ats[latest.start[1:][has_items] - 1], kind="stable")
        self._values = values[np.sort(has_items[order[: self.config.max_users]])]
        self._item_ids = catalogue.item_ids

    def values(self) -> sparse.csr_matrix:
        """Weights (or ratings) of the users that are kept, shape (users, items)."""
        if self._values is None:
            raise NotFittedError("the user_knn retriever was used before it was fitted or loaded")
        return self._values

    def score(self, histories: Histories) -> FloatArray:
        """Votes or predicted values, 0 for an item that no neighbour has."""
        values = self.values()
        score_block = self._votes if self.config.prediction == "vote" else self._predictions
        parts = [np.zeros((0, values.shape[1]), dtype=np.float32)]
        for begin in range(0, histories.count, BLOCK):
            parts.append(score_block(_part(histories, begin), values))
        return np.concatenate(parts)

    def refresh(self, catalogue: Catalogue) -> None:
        """Follow the catalogue; nobody has a new item until the next fit."""
        rows = row_map(self._item_ids, catalogue.item_ids)
        kept = np.flatnonzero(rows >= 0)
        ones = np.ones(len(kept), dtype=np.float32)
        move = sparse.csr_matrix((ones, (rows[kept], kept)), shape=(len(self._item_ids), len(rows)))
        self._values = sparse.csr_matrix(self.values() @ move)
        self._values.sort_indices()
        self._item_ids = catalogue.item_ids

    def save(self, folder: Path) -> None:
        """Write to `folder`."""
        values = self.values()
        arrays = {
            "values": values.data,
            "columns": values.indices.astype(np.int32),
            "start": values.indptr.astype(np.int64),
        }
        save_state(folder, arrays, {"config": asdict(self.config), "item_ids": self._item_ids.tolist()})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        arrays, facts = load_state(folder)
        model = cls(UserKNNConfig(**facts["config"]))
        model._item_ids = as_ids(facts["item_ids"])
        shape = (len(arrays["start"]) - 1, len(model._item_ids))
        model._values = sparse.csr_matrix((arrays["values"], arrays["columns"], arrays["start"]), shape=shape)
        return model

    def _votes(self, histories: Histories, values: sparse.csr_matrix) -> FloatArray:
        config = self.config
        own = history_matrix(histories, values.shape[1], decay=config.recency_decay, length=config.history_length)
        shared = (own @ values.T).toarray()
        if config.similarity == "cosine":
            similarity = _ratio(shared, _norms(own)[:, None] * _norms(values)[None, :])
        else:
            similarity = _correlation(own, values, shared)
        similarity[shared == 0] = 0
        neighbours = self._nearest(np.maximum(similarity, 0), own, values)
        return np.asarray((neighbours @ values).toarray(), dtype=np.float32)

    def _predictions(self, histories: Histories, values: sparse.csr_matrix) -> FloatArray:
        """`mean_u + sum s (r_v - mean_v) / sum |s|` over the neighbours v that rated the item."""
        own = _own_values(histories.last(self.config.history_length), values.shape[1])
        own_mean, means = _row_means(own), _row_means(values)
        own_centred, centred = _centred(own, own_mean), _centred(values, means)
        has_own, has = _pattern(own), _pattern(values)
        left, right = (own, values) if self.config.similarity == "cosine" else (own_centred, centred)
        squares = (left.multiply(left) @ has.T).toarray() * (has_own @ right.multiply(right).T).toarray()
        similarity = _ratio((left @ right.T).toarray(), np.sqrt(squares))
        neighbours = self._nearest(similarity, own, values)
        support = (abs(neighbours) @ has).toarray()
        deviation = _ratio((neighbours @ centred).toarray(), support)
        return np.where(support > 0, own_mean[:, None] + deviation, np.float32(0)).astype(np.float32)

    def _nearest(self, similarity: FloatArray, own: sparse.csr_matrix, values: sparse.csr_matrix) -> sparse.csr_matrix:
        """The strongest similarities of each row, shape (users of the block, kept users)."""
        if self.config.shrinkage:
            shared = (_pattern(own) @ _pattern(values).T).toarray()
            similarity = similarity * _ratio(shared, shared + np.float32(self.config.shrinkage))
        strength = np.abs(similarity)
        chosen = top_rows(np.where(strength > 0, strength, np.float32(-np.inf)), self.config.neighbours)
        users, places = np.nonzero(chosen != PADDING)
        columns = chosen[users, places]
        return sparse.csr_matrix((similarity[users, columns], (users, columns)), shape=similarity.shape)


def _part(histories: Histories, begin: int) -> Histories:
    return histories.of_users(slice(begin, begin + BLOCK))


def _own_values(histories: Histories, item_count: int) -> sparse.csr_matrix:
    """Mean weight of each item of the histories, shape (users, items)."""
    sums = history_matrix(histories, item_count, decay=0, length=histories.items.shape[1])
    users, places = np.nonzero(histories.items != PADDING)
    counts = sparse.csr_matrix(
        (np.ones(len(users), dtype=np.float32), (users, histories.items[users, places])), shape=sums.shape
    )
    counts.sum_duplicates()
    sums.data /= counts.data
    return sums


def _mean_of_repeats(sums: sparse.csr_matrix, log: InteractionLog) -> sparse.csr_matrix:
    counts = sparse.csr_matrix((np.ones(len(log.item_rows), np.float32), log.item_rows, log.start), shape=sums.shape)
    counts.sum_duplicates()
    means = sums.copy()
    means.data /= counts.data
    return means


def _pattern(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    return sparse.csr_matrix((np.ones_like(matrix.data), matrix.indices, matrix.indptr), shape=matrix.shape)


def _row_means(matrix: sparse.csr_matrix) -> FloatArray:
    """Mean of the entries of each row, 0 for an empty row."""
    sums = np.asarray(matrix.sum(axis=1), dtype=np.float32).ravel()
    return _ratio(sums, np.diff(matrix.indptr).astype(np.float32))


def _centred(matrix: sparse.csr_matrix, means: FloatArray) -> sparse.csr_matrix:
    """Entries less the mean of their row; an entry that becomes 0 stays an entry."""
    values = matrix.data - np.repeat(means, np.diff(matrix.indptr))
    return sparse.csr_matrix((values, matrix.indices, matrix.indptr), shape=matrix.shape)


def _norms(matrix: sparse.csr_matrix) -> FloatArray:
    return np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1), dtype=np.float32).ravel())


def _correlation(left: sparse.csr_matrix, right: sparse.csr_matrix, products: FloatArray) -> FloatArray:
    """Pearson's correlation of all rows over all columns, absent entries being 0."""
    count = np.float64(left.shape[1])
    sums = [np.asarray(one.sum(axis=1), dtype=np.float64).ravel() for one in (left, right)]
    spreads = [
        np.sqrt(np.maximum(count * np.square(_norms(one).astype(np.float64)) - total**2, 0))
        for one, total in zip((left, right), sums, strict=True)
    ]
    covariance = count * products.astype(np.float64) - sums[0][:, None] * sums[1][None, :]
    return _ratio(covariance.astype(np.float32), (spreads[0][:, None] * spreads[1][None, :]).astype(np.float32))


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """Division with 0 where the divisor is 0."""
    result: FloatArray = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return result
