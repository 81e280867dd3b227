"""Rules for the final list: seen and unavailable items, diversity, reserved slots for cold items, business rules.

Never broken: availability, the seen filter, block rules, and one item once per list. Relaxed when a list would
stay short: the caps on categories and brands.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models import diversification, exploration
from models.catalogue import Catalogue
from models.errors import ConfigurationError
from models.interactions import BoolArray, FloatArray, IntArray
from models.item_rules import ItemRule as ItemRule
from models.item_rules import item_rules_from_frame as item_rules_from_frame

UNCAPPED = -1


@dataclass(frozen=True)
class RerankRules:
    """What the final lists of a domain and surface must obey."""

    exclude_seen: bool = True
    """Leave out every item of the user's history."""
    max_per_category: int = 0
    """Most items of one category in a list; 0: no cap. Items without a category are not capped."""
    max_per_brand: int = 0
    """Most items of one brand or author in a list; 0: no cap."""
    cold_share: float = 0.0
    """Share of each prefix of the list kept for items without interactions, while a text-aware retriever has any."""
    cold_places: tuple[int, ...] = ()
    """Places (from 1) kept for items without interactions; the first p hold as many as are named up to p."""
    diversity: diversification.Diversity = "none"
    """How relevance is traded for variety: none, mmr, dpp or calibrated (see `models.diversification`)."""
    diversity_weight: float = 0.0
    """From 0 (relevance alone) to 1 (variety alone)."""
    explore_share: float = 0.0
    """Probability that a place shows an item drawn at random (see `models.exploration`)."""
    item_rules: tuple[ItemRule, ...] = ()
    """Business rules of the surface."""

    def __post_init__(self) -> None:
        if not 0 <= self.cold_share <= 1:
            raise ConfigurationError(f"cold_share must be between 0 and 1, not {self.cold_share}")
        if min(self.cold_places, default=1) < 1 or len(set(self.cold_places)) != len(self.cold_places):
            raise ConfigurationError(f"cold_places must be distinct places from 1, not {list(self.cold_places)}")
        if self.max_per_category < 0 or self.max_per_brand < 0:
            raise ConfigurationError("max_per_category and max_per_brand must not be negative; 0 means no cap")

        diversification.check(self.diversity, self.diversity_weight)
        exploration.check(self.explore_share)

    @property
    def is_diversified(self) -> bool:
        """Whether the order of the best candidates is changed for variety."""
        return self.diversity != "none" and self.diversity_weight > 0

    @property
    def has_cold_slots(self) -> bool:
        """Whether any place is kept for items without interactions."""
        return self.cold_share > 0 or bool(self.cold_places)

    def cold_owed(self, position: int) -> int:
        """Cold items that the first `position` places must hold while there are any."""
        # Every prefix of p slots holds at least floor(share * p) cold items.
        by_share = int(self.cold_share * position + 1e-9)
        return max(by_share, sum(place <= position for place in self.cold_places))


@dataclass(frozen=True)
class ResolvedRules:
    """Rules as arrays over the rows of one catalogue at one moment."""

    rules: RerankRules
    allowed: BoolArray
    """Available and not blocked, shape (items,)."""
    boost: FloatArray
    """Added to the fused score, shape (items,)."""
    pins: tuple[tuple[int, str, BoolArray], ...]
    """0-based position, rule id and items of each pin, in order of position and rule."""
    extra_rows: IntArray
    """Allowed items that a pin or boost names by id: candidates for everyone."""
    categories: IntArray
    """Code of each item's category; -1 where there is no cap."""
    brands: IntArray
    """Code of each item's brand; -1 where there is no cap."""

    @property
    def needs_choice(self) -> bool:
        """Whether a list can differ from the plain order of scores."""
        rules = self.rules
        has_caps = rules.max_per_category or rules.max_per_brand
        return bool(has_caps or rules.has_cold_slots or self.pins or rules.is_diversified or rules.explore_share)


def resolve_rules(rules: RerankRules, catalogue: Catalogue, *, as_of: int) -> ResolvedRules:
    """Apply validity windows and availability at `as_of` (seconds since 1970 UTC)."""
    valid = [(rule, rule.matches(catalogue)) for rule in rules.item_rules if rule.is_valid_at(as_of)]
    allowed = catalogue.available_at(as_of)
    for rule, items in valid:
        if rule.action == "block":
            allowed = allowed & ~items
    boost = np.zeros(catalogue.count, dtype=np.float32)
    for rule, items in valid:
        if rule.action == "boost":
            boost += np.float32(rule.amount) * items
    pins = [(int(rule.amount) - 1, rule.rule_id, items) for rule, items in valid if rule.action == "pin"]
    named = [items for rule, items in valid if rule.field == "item_id" and rule.action != "block"]
    is_named = np.logical_or.reduce(named) if named else np.zeros(catalogue.count, dtype=bool)

    def capped(codes: IntArray, cap: int) -> IntArray:
        return codes if cap else np.full(catalogue.count, UNCAPPED, dtype=np.int32)

    return ResolvedRules(
        rules=rules,
        allowed=allowed,
        boost=boost,
        pins=tuple(sorted(pins, key=lambda pin: pin[:2])),
        extra_rows=np.flatnonzero(is_named & allowed).astype(np.int32),
        categories=capped(catalogue.category_codes, rules.max_per_category),
        brands=capped(catalogue.brand_codes, rules.max_per_brand),
    )


@dataclass(frozen=True)
class Slot:
    """One place of a list: which candidate, and why it stands there."""

    place: int
    """Column of the candidate."""
    kind: int
    """`NATURAL`, `COLD`, or `PINNED` plus the number of the pin."""


NATURAL, COLD, FILLED, PINNED = 0, 1, 2, 3


class ListBuilder:
    """Fills the lists of one batch of users, slot by slot, from candidates in order of score."""

    def __init__(self, resolved: ResolvedRules, is_cold: BoolArray, *, top_k: int) -> None:
        self._resolved = resolved
        # Plain lists: reading single elements of numpy arrays would dominate the loop.
        self._is_cold: list[bool] = is_cold.tolist()
        self._caps = [
            (codes.tolist(), cap)
            for codes, cap in (
                (resolved.categories, resolved.rules.max_per_category),
                (resolved.brands, resolved.rules.max_per_brand),
            )
            if cap
        ]
        self._top_k = top_k

    def build_within_caps(self, items: Sequence[int]) -> list[Slot]:
        """Slots of one user, fewer than `top_k` where the caps or the candidates do not allow more.

        Args:
            items: Candidates (allowed, unseen, distinct), best first.

        Returns:
            Slots whose `place` indexes `items`.
        """
        return self._choose(items, range(len(items)), is_capped=True)

    def build(self, items: Sequence[int]) -> list[Slot]:
        """Slots as of `build_within_caps`, filled up to `top_k` with the best items that the caps had kept out."""
        slots = self.build_within_caps(items)
        if len(slots) < min(self._top_k, len(items)):
            chosen = {slot.place for slot in slots}
            skipped = [place for place in range(len(items)) if place not in chosen]
            kept = sorted([*chosen, *skipped[: self._top_k - len(slots)]])
            slots = self._choose(items, kept, is_capped=False)
        return slots

    def _choose(self, items: Sequence[int], places: Sequence[int], *, is_capped: bool) -> list[Slot]:
        state = _State(self._caps if is_capped else [])
        cold = [place for place in places if self._is_cold[items[place]]] if self._resolved.rules.has_cold_slots else []
        pinned = self._pinned(items, places)
        reserved = {slot.place for slot in pinned.values()}
        cold_used = natural = next_cold = 0
        while len(state.slots) < self._top_k:
            position = len(state.slots)
            if position in pinned:
                cold_used += self._is_cold[items[pinned[position].place]]
                state.take(pinned[position], items)
                continue
            if self._owes_cold(position, cold_used):
                next_cold = state.skip(cold, next_cold, items, reserved)
                if next_cold < len(cold):
                    state.take(Slot(cold[next_cold], COLD), items)
                    cold_used += 1
                    continue
            natural = state.skip(places, natural, items, reserved)
            if natural == len(places):
                break
            cold_used += self._is_cold[items[places[natural]]]
            state.take(Slot(places[natural], NATURAL), items)
        return self._with_late_pins(state.slots, pinned)

    def _owes_cold(self, position: int, cold_used: int) -> bool:
        return cold_used < self._resolved.rules.cold_owed(position + 1)

    def _pinned(self, items: Sequence[int], places: Sequence[int]) -> dict[int, Slot]:
        """Best candidate of each pin by position; a second pin of one position moves to the next free one."""
        pinned: dict[int, Slot] = {}
        used: set[int] = set()
        for number, (position, _, matches) in enumerate(self._resolved.pins):
            place = next((place for place in places if place not in used and matches[items[place]]), None)
            while position in pinned:
                position += 1
            if place is not None and position < self._top_k:
                pinned[position] = Slot(place, PINNED + number)
                used.add(place)
        return pinned

    def _with_late_pins(self, slots: list[Slot], pinned: dict[int, Slot]) -> list[Slot]:
        """Pins beyond the end of a short list close it."""
        late = [pinned[position] for position in sorted(pinned) if position >= len(slots)]
        return [*slots, *late][: self._top_k]


class _State:
    """Slots taken so far and how full each category and brand is."""

    def __init__(self, caps: list[tuple[list[int], int]]) -> None:
        self.slots: list[Slot] = []
        self._taken: set[int] = set()
        self._caps = caps
        self._counts: list[dict[int, int]] = [{} for _ in self._caps]

    def skip(self, places: Sequence[int], start: int, items: Sequence[int], reserved: set[int]) -> int:
        """First index from `start` whose candidate is free and fits the caps; the length when there is none."""
        while start < len(places):
            place = places[start]
            if place not in self._taken and place not in reserved and self._fits(items[place]):
                return start
            start += 1
        return start

    def take(self, slot: Slot, items: Sequence[int]) -> None:
        self.slots.append(slot)
        self._taken.add(slot.place)
        for (codes, _), counts in zip(self._caps, self._counts, strict=True):
            code = codes[items[slot.place]]
            counts[code] = counts.get(code, 0) + 1

    def _fits(self, item: int) -> bool:
        for (codes, cap), counts in zip(self._caps, self._counts, strict=True):
            code = codes[item]
            if code != UNCAPPED and counts.get(code, 0) >= cap:
                return False
        return True
