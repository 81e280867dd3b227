"""The terms of a score in the short form that lists carry: the largest few, and the rest as one."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.interactions import FloatArray

SHOWN = 3
"""Terms that are named."""
OTHER = "other"
"""Name of the sum of all others."""
BASE = "base"
"""Term that is the same for all items; it says nothing of one, so it always counts among the rest."""
DECIMALS = 4


def compact(contributions: FloatArray, terms: Sequence[str]) -> list[list[dict[str, Any]]]:
    """The largest terms of each score by size, then the sum of the rest where there is any.

    Args:
        contributions: Shape (terms, rows).
        terms: Names of the terms.

    Returns:
        For each row a list of `{"term": name, "amount": value}`; the amounts add up to the row's sum within rounding.
    """
    sizes = np.abs(contributions)
    sizes[[place for place, term in enumerate(terms) if term == BASE]] = -1
    order = np.argsort(-sizes, axis=0, kind="stable")[: min(SHOWN, len(terms))]
    # Adding 0 turns a rounded -0.0 into 0.0.
    amounts = np.round(np.take_along_axis(contributions, order, axis=0).astype(np.float64), DECIMALS) + 0.0
    rest = np.round(contributions.sum(axis=0, dtype=np.float64) - amounts.sum(axis=0), DECIMALS) + 0.0
    rows = []
    for places, values, other in zip(order.T.tolist(), amounts.T.tolist(), rest.tolist(), strict=True):
        row = [{"term": terms[place], "amount": value} for place, value in zip(places, values, strict=True) if value]
        rows.append([*row, {"term": OTHER, "amount": other}] if other else row)
    return rows
