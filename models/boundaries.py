"""Moments at which what may be shown changes by itself, without an event or a new row."""

from collections.abc import Sequence

import numpy as np

from models.catalogue import ALWAYS, Catalogue
from models.interactions import LongArray
from models.item_rules import ItemRule


def boundaries(catalogue: Catalogue, rules: Sequence[ItemRule]) -> LongArray:
    """Begin and end of the availability of items and of the validity of rules.

    Args:
        catalogue: The items.
        rules: Business rules.

    Returns:
        Seconds since 1970 UTC, in any order and some more than once; what always was and what never ends has none.
    """
    of_items = np.concatenate([catalogue.available_from, catalogue.available_until])
    of_rules = [moment for rule in rules for moment in (rule.valid_from, rule.valid_until) if moment is not None]
    return np.concatenate([of_items[np.abs(of_items) != ALWAYS], np.array(of_rules, dtype=np.int64)])
