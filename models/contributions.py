"""The terms of a score in the short form that lists carry: the largest few, and the rest as one."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from models.interactions import FloatArray

SHOWN = 3
"""Terms that are named."""
OTHER = "other"
"""Name of the sum of all others."""
BASE = "base"
"""Term that is the same for all items; it says nothing of one, so it always counts among the rest."""
DECIMALS = 4


def compact(contributions: FloatArray, terms: Sequence[str]) -> pd.Series:
    """The largest terms of each score by size, then the sum of the rest where there is any.

    Args:
        contributions: Shape (terms, rows).
        terms: Names of the terms.

    Returns:
        For each row a list of `{"term": name, "amount": value}`, as Arrow has it; the amounts add up to the row's sum
        within rounding. Terms of amount 0 are left out.
    """
    import pyarrow as pa

    sizes = np.abs(contributions)
    sizes[[place for place, term in enumerate(terms) if term == BASE]] = -1
    order = np.argsort(-sizes, axis=0, kind="stable")[: min(SHOWN, len(terms))]
    # Adding 0 turns a rounded -0.0 into 0.0.
    amounts = np.round(np.take_along_axis(contributions, order, axis=0).astype(np.float64), DECIMALS) + 0.0
    rest = np.round(contributions.sum(axis=0, dtype=np.float64) - amounts.sum(axis=0), DECIMALS) + 0.0
    codes = np.concatenate([order, np.full((1, order.shape[1]), len(terms))]).T
    values = np.concatenate([amounts, rest[None]]).T
    is_shown = values != 0
    names = pa.DictionaryArray.from_arrays(codes[is_shown].astype(np.int32), [*terms, OTHER]).cast(pa.string())
    entries = pa.StructArray.from_arrays([names, pa.array(values[is_shown])], names=["term", "amount"])
    offsets = np.concatenate([[0], np.cumsum(is_shown.sum(axis=1))]).astype(np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), entries)
    return pd.Series(lists, dtype=pd.ArrowDtype(lists.type))
