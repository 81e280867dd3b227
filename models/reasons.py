"""Grounded reasons: one short sentence for each recommended item, made of facts that the models really used."""

from collections.abc import Mapping

import numpy as np

from models.catalogue import Catalogue
from models.interactions import PADDING, FloatArray, Histories, IntArray, LongArray
from models.retriever import Retriever, SimilarityRetriever, VectorRetriever

LOOK_BACK = 20
"""Latest interactions among which the one behind a recommendation is sought."""
TITLE_LENGTH = 80

_BECAUSE = {
    "content": "similar to",
    "co_occurrence": "often chosen together with",
    "als": "liked by people who also chose",
    "ease": "liked by people who also chose",
    "bpr": "liked by people who also chose",
    "sequence": "a likely next step after",
    "sequence_linear": "a likely next step after",
    "graph": "close, by buyers, brand or category, to",
}


def nearest_history_items(retriever: Retriever, histories: Histories, items: IntArray) -> IntArray:
    """For each recommended item, the recent history item that calls for it most; the latest one on ties.

    Args:
        retriever: A vector or similarity retriever; of any other kind nothing is known.
        histories: The users.
        items: Recommended item rows, shape (users, top_k); -1 where none is asked for.

    Returns:
        Item rows, shape (users, top_k); -1 where nothing in the history calls for the item.
    """
    found = np.full(items.shape, PADDING, dtype=np.int32)
    asked = np.flatnonzero((items != PADDING).any(axis=1))
    if len(asked):
        found[asked] = _nearest(retriever, _latest_first(histories)[asked], items[asked])
    return found


def _nearest(retriever: Retriever, history: IntArray, items: IntArray) -> IntArray:
    strength = _strengths(retriever, history, items)
    if strength is None:
        return np.full(items.shape, PADDING, dtype=np.int32)
    strength = np.where(history[:, None, :] == PADDING, -np.inf, strength)
    places = strength.argmax(axis=2)
    is_real = (np.take_along_axis(strength, places[:, :, None], axis=2)[:, :, 0] > 0) & (items != PADDING)
    return np.where(is_real, np.take_along_axis(history, places, axis=1), PADDING).astype(np.int32)


def reason_texts(
    sources: list[str], causes: LongArray | IntArray, segments: list[str], catalogue: Catalogue, is_cold: list[bool]
) -> list[str]:
    """The sentences.

    Args:
        sources: Retriever behind each row.
        causes: History item behind each row, -1 for none.
        segments: Segment in which a popular item is popular; empty for everyone.
        catalogue: For the titles.
        is_cold: Whether nobody has interacted with the item.
    """
    titles = _quoted_titles(catalogue, causes[causes >= 0])
    rows = zip(sources, causes.tolist(), segments, is_cold, strict=True)
    return [_reason(source, titles.get(cause), segment, cold) for source, cause, segment, cold in rows]


def _reason(source: str, title: str | None, segment: str, is_cold: bool) -> str:
    if source == "popularity":
        return f"popular in {segment}" if segment else "popular now"
    if source == "repeat":
        return "chosen before"
    if title is None:
        return "fits your recent history"
    relation = _BECAUSE.get(source, "related to")
    return f"{'new, ' if is_cold else ''}{relation} {title} in your history"


def _quoted_titles(catalogue: Catalogue, rows: LongArray | IntArray) -> Mapping[int, str]:
    quoted: dict[int, str] = {}
    for row in set(rows.tolist()):
        title = " ".join(str(catalogue.titles[row] or catalogue.item_ids[row]).split())
        quoted[row] = f'"{title if len(title) <= TITLE_LENGTH else title[: TITLE_LENGTH - 1].rstrip() + "…"}"'
    return quoted


def _latest_first(histories: Histories) -> IntArray:
    """Item rows, shape (users, LOOK_BACK): always of that width, so that a batch does not change the arithmetic."""
    latest = histories.items[:, -LOOK_BACK:][:, ::-1]
    return np.pad(latest, ((0, 0), (0, LOOK_BACK - latest.shape[1])), constant_values=PADDING)


def _strengths(retriever: Retriever, history: IntArray, items: IntArray) -> FloatArray | None:
    """How strongly each history item calls for each item, shape (users, items, history); anything on padding."""
    safe = np.maximum(history, 0)
    if isinstance(retriever, VectorRetriever):
        vectors = retriever.item_vectors()
        return np.asarray(vectors[np.maximum(items, 0)] @ vectors[safe].transpose(0, 2, 1), dtype=np.float32)
    if isinstance(retriever, SimilarityRetriever):
        users, columns = np.nonzero(items != PADDING)
        width = history.shape[1]
        strengths = np.zeros((*items.shape, width), dtype=np.float32)
        pairs = retriever.similarity(safe[users].ravel(), np.repeat(items[users, columns], width))
        strengths[users, columns] = pairs.reshape(-1, width)
        return strengths
    return None
