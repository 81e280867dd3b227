"""What a set of lists does to the catalogue: coverage, novelty, diversity, popularity bias, concentration.

Every function reads ranked item rows, shape (users, places), filled with -1 behind the end of a short list. Lists
without any item answer NaN, except for coverage, which is 0.
"""

from collections.abc import Sequence

import numpy as np

from models.interactions import PADDING, FloatArray, IntArray, InteractionLog, LongArray, ObjectArray
from models.metrics import mean

_CHUNK_ELEMENTS = 20_000_000
"""Vector elements gathered at a time, about 80 MB."""


def popularity_counts(train: InteractionLog) -> LongArray:
    """Number of training interactions of each item, shape (items,)."""
    return np.bincount(train.item_rows, minlength=train.item_count).astype(np.int64)


def coverage(ranked: IntArray, item_count: int) -> float:
    """Share of the catalogue that stands in at least one list: distinct items / items.

    Source: Ge, Delgado-Battenfeld and Jannach (2010), catalogue coverage.
    """
    shown = ranked[ranked != PADDING]
    return len(np.unique(shown)) / item_count if item_count else 0.0


def novelty(ranked: IntArray, counts: LongArray) -> float:
    """Mean self-information of the shown items in bits: -log2 p(i), p(i) = (count + 1) / (all + items).

    Add-one smoothing gives items without interactions a finite value. Source: Zhou et al. (2010), Castells et al.
    """
    shown = ranked[ranked != PADDING]
    if not len(shown):
        return float("nan")
    information = -np.log2((counts + 1) / (counts.sum() + len(counts)))
    return float(information[shown].mean())


def diversity(ranked: IntArray, embeddings: FloatArray) -> float:
    """Mean over lists of 1 - the mean cosine of the pairs within the list, from unit vectors.

    Items with a zero vector have no text and are left out; lists with fewer than two vectors are left out.
    Source: Ziegler et al. (2005), intra-list similarity.
    """
    known = np.abs(embeddings).sum(axis=1) > 0
    values = [np.empty(0)]
    step = max(1, _CHUNK_ELEMENTS // max(1, ranked.shape[1] * embeddings.shape[1]))
    for begin in range(0, len(ranked), step):
        rows = ranked[begin : begin + step]
        is_known = (rows != PADDING) & known[rows]
        vectors = np.where(is_known[:, :, None], embeddings[rows], 0.0)
        count = is_known.sum(axis=1)
        # |sum of unit vectors|² counts each vector with itself once and each pair twice.
        both = np.square(vectors.sum(axis=1)).sum(axis=1) - np.square(vectors).sum(axis=(1, 2))
        has_pair = count > 1
        values.append(1.0 - both[has_pair] / (count * (count - 1))[has_pair])
    return mean(np.concatenate(values))


def category_diversity(ranked: IntArray, categories: ObjectArray) -> float:
    """Mean over lists of 1 - the share of pairs in one category; items without a category match nothing.

    Lists with fewer than two items are left out.
    """
    names, codes = np.unique(categories.astype(str), return_inverse=True)
    unknown = names[codes] == ""
    codes = np.where(unknown, -1 - np.arange(len(codes)), codes)
    shown = ranked != PADDING
    row_codes = np.where(shown, codes[ranked], np.iinfo(np.int64).max)
    same = np.zeros(len(ranked))
    for place in range(ranked.shape[1]):
        later = row_codes[:, place + 1 :] == row_codes[:, place : place + 1]
        same += (later & shown[:, place : place + 1]).sum(axis=1)
    count = shown.sum(axis=1)
    has_pair = count > 1
    return mean(1.0 - same[has_pair] / (count * (count - 1) / 2)[has_pair])


def popularity_bias(ranked: IntArray, counts: LongArray) -> float:
    """Average recommendation popularity: mean over lists of the mean training count of their items.

    Source: Yin et al. (2012), ARP.
    """
    shown = ranked != PADDING
    length = shown.sum(axis=1)
    totals = np.where(shown, counts[ranked], 0).sum(axis=1)
    return mean(totals[length > 0] / length[length > 0])


def gini(ranked: IntArray, item_count: int) -> float:
    """Concentration of exposure over the catalogue: 0 when all items are shown equally often, near 1 when few are.

    (2 Σ r·n_r) / (items · Σ n) - (items + 1) / items over the counts n in ascending order, r from 1.
    """
    shown = ranked[ranked != PADDING]
    if not len(shown) or not item_count:
        return float("nan")
    counts = np.sort(np.bincount(shown, minlength=item_count))
    order = np.arange(1, item_count + 1)
    return float(2 * (order * counts).sum() / (item_count * counts.sum()) - (item_count + 1) / item_count)


def cold_share(ranked: IntArray, counts: LongArray) -> float:
    """Share of the filled places that hold an item without training interactions."""
    shown = ranked[ranked != PADDING]
    return float((counts[shown] == 0).mean()) if len(shown) else float("nan")


def catalogue_effects(
    ranked: IntArray,
    train: InteractionLog,
    categories: ObjectArray,
    embeddings: FloatArray | None,
    ks: Sequence[int] = (10,),
) -> dict[str, float]:
    """All of the above at each cut-off: `coverage@10` and so on; `diversity` only where there are embeddings."""
    counts = popularity_counts(train)
    effects: dict[str, float] = {}
    for k in ks:
        top = ranked[:, :k]
        effects[f"coverage@{k}"] = coverage(top, train.item_count)
        effects[f"novelty@{k}"] = novelty(top, counts)
        if embeddings is not None:
            effects[f"diversity@{k}"] = diversity(top, embeddings)
        effects[f"category_diversity@{k}"] = category_diversity(top, categories)
        effects[f"popularity_bias@{k}"] = popularity_bias(top, counts)
        effects[f"gini@{k}"] = gini(top, train.item_count)
        effects[f"cold_share@{k}"] = cold_share(top, counts)
    return effects
