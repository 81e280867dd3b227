"""Pairs of items that the same user chose near each other: what contrastive fine-tuning learns from."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.catalogue import Catalogue
from models.errors import DataError
from models.interactions import BoolArray, InteractionLog, LongArray

DoubleArray = npt.NDArray[np.float64]

NO_CATEGORY = -1
"""Category code of an item whose category is unknown."""


@dataclass(frozen=True)
class EngagementPairs:
    """Pairs in the order of users and time, with what is needed to draw honest negatives.

    `anchors`, `positives`, `users` and `weights` have one entry per pair; the items of user row `u`, all of which are
    kept from being negatives of the user's pairs, are `user_items[user_start[u]:user_start[u + 1]]`.
    """

    anchors: LongArray
    """Item row chosen earlier."""
    positives: LongArray
    """Item row chosen later."""
    users: LongArray
    weights: DoubleArray
    """Share with which a pair is drawn; all together 1. Inverse to the distance: the next item counts most."""
    user_start: LongArray
    user_items: LongArray
    categories: LongArray
    """Category code of each item row, `NO_CATEGORY` where unknown."""
    events: LongArray
    """Place in the log of the interaction that chose each pair's later item."""
    event_types: LongArray
    """Code of the type of that interaction; all 0 where types are not told apart."""

    @property
    def count(self) -> int:
        """Number of pairs."""
        return len(self.anchors)

    def items_of(self, user: int) -> LongArray:
        """Item rows that a user chose."""
        return self.user_items[self.user_start[user] : self.user_start[user + 1]]

    def parts(self) -> list[str]:
        """All that decides what is learned from the pairs, as strings."""
        arrays = (self.anchors, self.positives, self.users, self.weights, self.event_types)
        return [str(array.tolist()) for array in arrays]

    def select(self, rows: LongArray, weights: DoubleArray) -> "EngagementPairs":
        """Some of the pairs with new weights, which are brought to a sum of 1."""
        return replace(
            self,
            anchors=self.anchors[rows],
            positives=self.positives[rows],
            users=self.users[rows],
            weights=weights / max(float(weights.sum()), 1e-12),
            events=self.events[rows],
            event_types=self.event_types[rows],
        )


def engagement_pairs(
    log: InteractionLog,
    catalogue: Catalogue,
    rng: np.random.Generator,
    *,
    window: int = 3,
    pairs_per_user: int = 50,
    has_text: BoolArray | None = None,
    event_types: LongArray | None = None,
) -> EngagementPairs:
    """Next-item pairs (distance 1) and co-engagement pairs (up to `window` interactions apart).

    Args:
        log: Interactions that training may see, and no others.
        catalogue: The items that the log refers to; gives the categories.
        rng: Draws which pairs of a heavy user are kept.
        window: Largest distance within a user's history.
        pairs_per_user: Largest number of pairs of one user.
        has_text: Which item rows the encoder can read, shape (items,); None: all.
        event_types: Code of the type of each interaction of the log; None: all alike.

    Raises:
        DataError: the log refers to another catalogue.
    """
    if log.item_count != catalogue.count:
        raise DataError(f"the log refers to {log.item_count} items, the catalogue has {catalogue.count}")
    readable = np.ones(catalogue.count, dtype=bool) if has_text is None else has_text
    items, owners = log.item_rows.astype(np.int64), log.user_rows.astype(np.int64)
    firsts, seconds, distances = _neighbours(items, owners, window)
    is_kept = readable[items[firsts]] & readable[items[seconds]] & (items[firsts] != items[seconds])
    firsts, seconds, distances = firsts[is_kept], seconds[is_kept], distances[is_kept]
    kept = _at_most_per_user(owners[firsts], pairs_per_user, rng)
    weights = 1.0 / distances[kept]
    return EngagementPairs(
        anchors=items[firsts[kept]],
        positives=items[seconds[kept]],
        users=owners[firsts[kept]],
        weights=weights / max(weights.sum(), 1e-12),
        user_start=log.start,
        user_items=items,
        categories=_codes(catalogue),
        events=seconds[kept],
        event_types=np.zeros(len(kept), dtype=np.int64) if event_types is None else event_types[seconds[kept]],
    )


def sampling_shares(pairs: EngagementPairs) -> DoubleArray:
    """How often each item row is either side of a drawn pair, in expectation per pair, shape (items,)."""
    size = len(pairs.categories)
    anchors = np.bincount(pairs.anchors, weights=pairs.weights, minlength=size)
    positives = np.bincount(pairs.positives, weights=pairs.weights, minlength=size)
    return np.asarray(anchors + positives, dtype=np.float64)


def hard_negative_shares(pairs: EngagementPairs, has_text: BoolArray) -> DoubleArray:
    """How often each item row is drawn as a hard negative, in expectation per draw, shape (items,)."""
    codes = pairs.categories
    is_open = (codes != NO_CATEGORY) & has_text
    size = int(codes.max(initial=0)) + 1
    wanted = codes[pairs.positives]
    known = wanted != NO_CATEGORY
    demand = np.bincount(wanted[known], weights=pairs.weights[known], minlength=size)
    members = np.bincount(codes[is_open], minlength=size)
    shares = np.zeros(len(codes))
    shares[is_open] = demand[codes[is_open]] / np.maximum(members[codes[is_open]], 1)
    return shares


def _neighbours(items: LongArray, owners: LongArray, window: int) -> tuple[LongArray, LongArray, LongArray]:
    """Positions of all pairs of one user at most `window` apart, with their distance, in order of the first."""
    firsts, seconds, distances = [], [], []
    for distance in range(1, window + 1):
        begin = np.flatnonzero(owners[:-distance] == owners[distance:]) if len(items) > distance else np.empty(0, int)
        firsts.append(begin)
        seconds.append(begin + distance)
        distances.append(np.full(len(begin), distance))
    joined = [np.concatenate(part).astype(np.int64) for part in (firsts, seconds, distances)]
    order = np.argsort(joined[0], kind="stable")
    return joined[0][order], joined[1][order], joined[2][order]


def _at_most_per_user(users: LongArray, largest: int, rng: np.random.Generator) -> LongArray:
    """Positions of at most `largest` entries of each user, drawn at random, in their former order."""
    order = np.lexsort((rng.random(len(users)), users))
    ordered = users[order]
    is_first = np.r_[True, ordered[1:] != ordered[:-1]] if len(users) else np.empty(0, bool)
    begins = np.flatnonzero(is_first)
    rank = np.arange(len(users)) - np.repeat(begins, np.diff(np.r_[begins, len(users)]))
    return np.sort(order[rank < largest]).astype(np.int64)


def _codes(catalogue: Catalogue) -> LongArray:
    names, codes = np.unique(catalogue.categories.astype(str), return_inverse=True)
    return np.where(names[codes] == "", NO_CATEGORY, codes).astype(np.int64)
