"""A linear item-item model that knows the order of events: what a user takes next, from what came shortly before.

After SLIST (Choi, Kim, Lee, Shim and Lee 2021, "Session-aware Linear Item-Item Models for Session-based
Recommendation"), with a user's whole history in place of a session. Two least-squares problems share one matrix B:

- transition: each next item y_t from the items before it, x_t, which count `exp(-age / decay)` by place;
- consistency: each user's set of items from itself, as in EASE, whatever the order.

    minimise  (1 - c) Σ_t ||y_t - x_t B||² + c Σ_u ||x_u - x_u B||² + λ ||B||²,  diag B = 0

with c the `consistency`. What differs from the paper: the target is the next item alone, not all that follows, which
ranked better on validation; and no weight is given to how recent a whole history is.

Memory is sparse throughout: at most 40 bytes for each distinct pair of items that lie within `window` places of each
other in some history. `RecommenderConfig.reason_to_skip` refuses data whose bound exceeds `max_memory_gib`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from models.catalogue import Catalogue
from models.errors import ConfigurationError, DataError
from models.interactions import BoolArray, InteractionLog, LongArray
from models.item_item import ItemItemRetriever
from models.item_regression import local_weights, pair_gib
from models.retriever import latest_interactions, log_matrix
from models.ties import TIES, Ties, resolved_ties

STEPS_PER_BLOCK = 200_000
"""Interactions whose pairs are held at once while the products are summed."""


@dataclass(frozen=True)
class SequenceLinearConfig:
    """Settings of `SequenceLinearRetriever`; the defaults were chosen on Amazon Beauty's validation part."""

    regularization: float = 100.0
    """L2 penalty on the weights (lambda)."""
    consistency: float = 0.4
    """Share of the order-free problem; 0: only transitions, 1: an EASE without order."""
    transition_decay: float = 4.0
    """In training, an item `age` places before the next one counts `exp(-age / decay)`."""
    window: int = 50
    """Places between two interactions beyond which they are no pair."""
    candidates: int = 100
    """Items that each item may be predicted from."""
    recency_decay: float = 2.0
    """In scoring, a history item counts `exp(-age / decay)`, age by place from the end; 0: all alike."""
    history_length: int = 50
    """Latest interactions of a user that are read when scoring."""
    ties: Ties = "auto"
    """unordered: interactions of the same second are each other's past in training, and share their mean age in
    scoring; ordered: the order of the log is believed; auto: whichever the training log supports (`models/ties.py`)."""
    max_memory_gib: float = 8.0
    """Data whose pairs may need more are refused."""

    def __post_init__(self) -> None:
        if self.regularization <= 0 or self.transition_decay <= 0:
            raise ConfigurationError(
                "sequence_linear.regularization and sequence_linear.transition_decay must be positive, "
                f"not {self.regularization} and {self.transition_decay}"
            )
        if not 0 <= self.consistency <= 1:
            raise ConfigurationError(f"sequence_linear.consistency must be from 0 to 1, not {self.consistency}")
        if self.ties not in TIES:
            raise ConfigurationError(f"sequence_linear.ties must be ordered, unordered or auto, not {self.ties!r}")
        if self.window < 1 or self.candidates < 1:
            raise ConfigurationError("sequence_linear.window and sequence_linear.candidates must be at least 1")

    def reason_to_skip(self, log: InteractionLog) -> str | None:
        """Why this log does not fit in memory, or None when it does."""
        needed = pair_gib(log, self.window)
        if needed <= self.max_memory_gib:
            return None
        return (
            f"pairs of items may take {needed:.1f} GiB, more than sequence_linear.max_memory_gib "
            f"({self.max_memory_gib:g}); lower sequence_linear.window ({self.window}) or raise the limit"
        )


class SequenceLinearRetriever(ItemItemRetriever[SequenceLinearConfig]):
    """Weights from each item to the items that come next, by ridge regression."""

    name = "sequence_linear"
    config_class = SequenceLinearConfig

    def fit(self, log: InteractionLog, catalogue: Catalogue, *, seed: int = 0) -> None:
        """Solve in closed form; `seed` is unused.

        Raises:
            DataError: the log may need more than `max_memory_gib`.
        """
        config = self.config
        reason = config.reason_to_skip(log)
        if reason is not None:
            raise DataError(f"the sequence_linear retriever cannot be fitted: {reason}")
        gram, cross = normal_equations(log, config)
        weights = local_weights(gram, cross, regularization=config.regularization, candidates=config.candidates)
        self._learned(weights, log, catalogue)


def normal_equations(log: InteractionLog, config: SequenceLinearConfig) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Weighted X'X and X'Y of both problems, each of shape (items, items)."""
    shape = (log.item_count, log.item_count)
    gram, cross = sparse.csr_matrix(shape, dtype=np.float32), sparse.csr_matrix(shape, dtype=np.float32)
    share = np.float32(config.consistency)
    config = replace(config, ties=resolved_ties(config.ties, log))
    sets_by_user = log_matrix(latest_interactions(log, config.window))
    for begin, end in _user_blocks(log):
        past, following = _steps(log, begin, end, config)
        sets = sets_by_user[begin:end]
        both = share * (sets.T @ sets)
        gram = gram + both + (1 - share) * (past.T @ past)
        cross = cross + both + (1 - share) * (past.T @ following)
    return sparse.csr_matrix(gram, dtype=np.float32), sparse.csr_matrix(cross, dtype=np.float32)


def _is_tied(log: InteractionLog, places: LongArray, others: LongArray, ends: LongArray) -> BoolArray:
    """Whether a later place is of the same user and second."""
    is_inside = others < ends
    safe = np.where(is_inside, others, places)
    return np.asarray(is_inside & (log.event_ats[safe] == log.event_ats[places]), dtype=bool)


def _user_blocks(log: InteractionLog) -> Iterator[tuple[int, int]]:
    """Ranges of whole users with about `STEPS_PER_BLOCK` interactions each."""
    begin = 0
    while begin < log.user_count:
        end = int(np.searchsorted(log.start, log.start[begin] + STEPS_PER_BLOCK, side="right")) - 1
        end = min(max(end, begin + 1), log.user_count)
        yield begin, end
        begin = end


def _steps(
    log: InteractionLog, begin: int, end: int, config: SequenceLinearConfig
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Decayed past (row) and next item (row) of every interaction of the users `begin` to `end`.

    The row of an interaction without a past is empty and thus adds nothing to either product.
    """
    first, last = int(log.start[begin]), int(log.start[end])
    places = np.arange(first, last, dtype=np.int64)
    lengths = np.diff(log.start[begin : end + 1])
    starts, ends = np.repeat(log.start[begin:end], lengths), np.repeat(log.start[begin + 1 : end + 1], lengths)
    rows, sources, values = [], [], []
    for age in range(min(config.window, int(lengths.max(initial=1)) - 1)):
        weight = np.float32(np.exp(-age / config.transition_decay))
        found = [(places - 1 - age >= starts, -1 - age)]
        if config.ties == "unordered":
            found.append((_is_tied(log, places, places + 1 + age, ends), 1 + age))
        for is_pair, distance in found:
            rows.append(np.flatnonzero(is_pair))
            sources.append(places[is_pair] + distance)
            values.append(np.full(len(sources[-1]), weight, dtype=np.float32))
    shape = (last - first, log.item_count)
    following = sparse.csr_matrix(
        (np.ones(len(places), dtype=np.float32), (np.arange(len(places)), log.item_rows[first:last])), shape=shape
    )
    if not rows:
        return sparse.csr_matrix(shape, dtype=np.float32), following
    items = log.item_rows[np.concatenate(sources)]
    past = sparse.csr_matrix((np.concatenate(values), (np.concatenate(rows), items)), shape=shape)
    return past, following
