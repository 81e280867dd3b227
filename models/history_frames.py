"""Histories of users from the rows of `features.user_histories` to the arrays that retrievers read."""

import numpy as np
import pandas as pd

from models.catalogue import Catalogue
from models.interactions import PADDING, BoolArray, Histories, IntArray


def to_histories(frame: pd.DataFrame, catalogue: Catalogue) -> Histories:
    """Histories as padded arrays, in the order of the frame.

    Args:
        frame: Rows of `features.user_histories`; a user without interactions has empty lists.
        catalogue: Items that are not in it are left out.
    """
    hidden, _ = _padded(frame["hidden_item_ids"], catalogue)
    items, is_filled = _padded(frame["item_ids"], catalogue)
    weights = np.zeros(items.shape, dtype=np.float32)
    event_ats = np.zeros(items.shape, dtype=np.int64)
    weights[is_filled] = _flat(frame["weights"], np.float32)
    event_ats[is_filled] = _flat(frame["event_ats"], "datetime64[s]").astype(np.int64)
    segments = frame["segment"].astype(object).where(frame["segment"].notna(), "").to_numpy(dtype=object)
    return _without_gaps(Histories(items, weights, event_ats, segments, hidden if (hidden != PADDING).any() else None))


def _padded(lists: pd.Series, catalogue: Catalogue) -> tuple[IntArray, BoolArray]:
    """Rows of items in the catalogue, `PADDING` for others and on the left; and which places are not on the left."""
    lengths = lists.map(len).to_numpy(dtype=np.int64)
    width = max(int(lengths.max(initial=0)), 1)
    is_filled = np.arange(width)[None, :] >= (width - lengths)[:, None]
    rows = np.full((len(lists), width), PADDING, dtype=np.int32)
    rows[is_filled] = catalogue.rows.get_indexer(pd.Index(_flat(lists, object)))
    return rows, is_filled


def _flat(lists: pd.Series, kind: object) -> np.ndarray:
    parts = [np.asarray(values, dtype=kind) for values in lists]  # type: ignore[call-overload]
    return np.concatenate(parts) if parts else np.array([], dtype=kind)  # type: ignore[call-overload]


def _without_gaps(histories: Histories) -> Histories:
    """Push items that are left of an item outside the catalogue to the right, so that padding is on the left."""
    is_padding = histories.items == PADDING
    if not (is_padding[:, 1:] & ~is_padding[:, :-1]).any():
        return histories
    order = np.argsort(~is_padding, axis=1, kind="stable")
    is_empty = np.take_along_axis(is_padding, order, axis=1)
    return Histories(
        np.take_along_axis(histories.items, order, axis=1),
        np.where(is_empty, 0, np.take_along_axis(histories.weights, order, axis=1)).astype(np.float32),
        np.where(is_empty, 0, np.take_along_axis(histories.event_ats, order, axis=1)),
        histories.segments,
        histories.hidden,
    )
