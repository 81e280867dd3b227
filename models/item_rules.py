"""Business rules about items: pin, block and boost, as in the table `serving.item_rules`."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from models.catalogue import Catalogue
from models.errors import ConfigurationError
from models.interactions import BoolArray

ACTIONS = ("pin", "block", "boost")
FIELDS = ("item_id", "category", "brand_or_author")


@dataclass(frozen=True)
class ItemRule:
    """One business rule, as in the table `serving.item_rules`."""

    rule_id: str
    action: Literal["pin", "block", "boost"]
    field: Literal["item_id", "category", "brand_or_author"]
    match: str
    amount: float = 0.0
    """boost: added to the fused score; pin: 1-based position."""
    valid_from: int | None = None
    """First second, since 1970 UTC; None: always."""
    valid_until: int | None = None
    """End, exclusive; None: never ends."""

    def __post_init__(self) -> None:
        if self.action not in ACTIONS or self.field not in FIELDS:
            raise ConfigurationError(
                f"rule {self.rule_id!r}: action must be one of {', '.join(ACTIONS)} and field one of "
                f"{', '.join(FIELDS)}, not {self.action!r} and {self.field!r}"
            )
        if self.action == "pin" and (self.amount < 1 or self.amount != int(self.amount)):
            raise ConfigurationError(f"rule {self.rule_id!r}: a pin needs a whole position from 1, not {self.amount}")

    def is_valid_at(self, as_of: int) -> bool:
        """Whether the rule holds at a moment."""
        has_begun = self.valid_from is None or self.valid_from <= as_of
        return has_begun and (self.valid_until is None or as_of < self.valid_until)

    def matches(self, catalogue: Catalogue) -> BoolArray:
        """Items that the rule is about, shape (items,)."""
        values = {"item_id": catalogue.item_ids, "category": catalogue.categories, "brand_or_author": catalogue.brands}
        return np.asarray(values[self.field] == self.match, dtype=bool)


def item_rules_from_frame(frame: pd.DataFrame, *, surface: str) -> tuple[ItemRule, ...]:
    """Rules of the table `serving.item_rules` that hold on `surface`, in order of their id."""
    own = frame[frame["surface"].isna() | (frame["surface"] == surface)].sort_values("rule_id")
    return tuple(_item_rule(row) for row in own.to_dict("records"))


def _item_rule(row: Mapping[Hashable, Any]) -> ItemRule:
    return ItemRule(
        rule_id=row["rule_id"],
        action=row["action"],
        field=row["field"],
        match=row["match"],
        amount=0.0 if pd.isna(row["amount"]) else float(row["amount"]),
        valid_from=None if pd.isna(row["valid_from"]) else int(row["valid_from"].timestamp()),
        valid_until=None if pd.isna(row["valid_until"]) else int(row["valid_until"].timestamp()),
    )
