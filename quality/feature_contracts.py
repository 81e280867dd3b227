"""Contracts of the feature tables, except the embeddings: what the models may rely on."""

from models.schema import (
    ITEM_COOCCURRENCE,
    ITEM_POPULARITY,
    ITEM_TEXTS,
    TRAINING_INTERACTIONS,
    USER_HISTORIES,
)
from quality.contracts import Between, Contract, EqualsColumn, Fact, InSet, Rule, newest_rows, schema_facts, violation

_COSINE_MAXIMUM = 1.0 + 1e-6


def feature_contracts() -> tuple[Contract, ...]:
    """Contracts of texts, histories, training interactions, popularity and co-occurrence."""
    return (_item_texts(), _user_histories(), _training_interactions(), _item_popularity(), _item_cooccurrence())


def _item_texts() -> Contract:
    table = ITEM_TEXTS
    missing = "SELECT item_id FROM marts.items EXCEPT SELECT item_id FROM features.item_texts"
    facts = (
        *schema_facts(table, unique_check="item_ids_are_unique"),
        Fact(
            "every_item_has_a_row", "items", f"SELECT count(*) FROM ({missing})",
            "Every item of the catalogue has a text, be it empty.", sample=missing, unit="items",
        ),
        violation(
            table, "text_hashes_match_the_texts", "text_hash <> sha256(text)",
            "`text_hash` is the SHA-256 of `text`; it decides what is encoded again.",
        ),
        violation(
            table, "texts_are_not_empty", "trim(text) = ''",
            "Every item has some text; the encoder has nothing to read of the others.", severity="warning",
        ),
    )  # fmt: skip
    return Contract("item_texts", table, "features", facts)


def _user_histories() -> Contract:
    table = USER_HISTORIES
    missing = "SELECT user_id FROM marts.interactions EXCEPT SELECT user_id FROM features.user_histories"
    facts = (
        *schema_facts(table, unique_check="user_ids_are_unique"),
        Fact(
            "every_active_user_has_a_history", "user_id", f"SELECT count(*) FROM ({missing})",
            "Every user with an interaction has a history.", sample=missing, unit="users",
        ),
        violation(
            table, "histories_are_in_order_of_time", "event_ats <> list_sort(event_ats)",
            "The interactions of a history are in order of time, latest last.",
        ),
        violation(
            table, "histories_end_at_the_last_event", "len(event_ats) > 0 AND last_event_at <> event_ats[-1]",
            "`last_event_at` is the time of the last interaction in the list.",
        ),
    )  # fmt: skip
    says = "The three lists of a history have one entry per interaction."
    rules = (
        Rule(
            "histories_are_not_empty",
            "count_known",
            Between(1, None),
            "Every history has an interaction or a hidden item.",
        ),
        Rule("histories_are_aligned", "count_weights", EqualsColumn("count_items"), says),
        Rule("histories_are_aligned", "count_times", EqualsColumn("count_items"), says),
        Rule("weights_are_positive", "least_weight", Between(5e-324, 1e9), "Weights are above 0 and finite."),
    )
    columns = (
        "user_id", "len(item_ids) + len(hidden_item_ids) AS count_known", "len(item_ids) AS count_items",
        "len(weights) AS count_weights", "len(event_ats) AS count_times", "list_min(weights) AS least_weight",
    )  # fmt: skip
    rows = newest_rows(table, columns, newest="last_event_at")
    return Contract("user_histories", table, "features", facts, rules, rows, ("user_id",))


def _training_interactions() -> Contract:
    table = TRAINING_INTERACTIONS
    name = table.qualified_name
    gaps = f"SELECT user_id FROM {name} GROUP BY user_id HAVING min(position) <> 0 OR max(position) <> count(*) - 1 "
    facts = (
        *schema_facts(table, unique_check="event_ids_are_unique"),
        Fact(
            "splits_do_not_overlap_in_time", "events",
            f"SELECT count(*) FROM {name} WHERE "
            f"(split = 'train' AND event_at >= (SELECT min(event_at) FROM {name} WHERE split <> 'train')) OR "
            f"(split = 'validation' AND event_at >= (SELECT min(event_at) FROM {name} WHERE split = 'test'))",
            "Training ends before validation begins, and validation before test; otherwise the future leaks.",
        ),
        Fact(
            "positions_are_contiguous", "user_id", f"SELECT count(*) FROM ({gaps})",
            "The positions of a user run from 0 without a gap.", sample=gaps, unit="users",
        ),
        Fact(
            "every_interaction_is_used", "difference",
            f"SELECT abs((SELECT count(*) FROM {name}) - (SELECT count(*) FROM marts.interactions))",
            "The table has one row per row of marts.interactions.", unit="interactions",
        ),
    )  # fmt: skip
    rules = (
        Rule("splits_are_known", "split", InSet(("train", "validation", "test")), "A split is one of three."),
        Rule("weights_are_positive", "weight", Between(5e-324, 1e9), "Weights are above 0 and finite."),
    )
    rows = newest_rows(table, ("event_id", "split", "weight"), newest="event_at")
    return Contract("training_interactions", table, "features", facts, rules, rows, ("event_id",))


def _item_popularity() -> Contract:
    table = ITEM_POPULARITY
    facts = (
        *schema_facts(table, unique_check="segment_items_are_unique"),
        violation(table, "scores_are_finite", "NOT isfinite(score)", "No score is infinite or not a number."),
    )
    rules = (Rule("scores_are_not_negative", "score", Between(0, None), "Popularity is at least 0."),)
    rows = newest_rows(table, ("segment", "item_id", "score"))
    return Contract("item_popularity", table, "features", facts, rules, rows, ("segment", "item_id"))


def _item_cooccurrence() -> Contract:
    table = ITEM_COOCCURRENCE
    facts = (
        *schema_facts(table, unique_check="item_pairs_are_unique"),
        violation(table, "scores_are_finite", "NOT isfinite(score)", "No score is infinite or not a number."),
        violation(table, "no_item_is_its_own_neighbour", "item_id = neighbour_id", "Neighbours are other items."),
    )
    rules = (Rule("cosines_are_in_range", "score", Between(0, _COSINE_MAXIMUM), "A cosine lies between 0 and 1."),)
    rows = newest_rows(table, ("item_id", "neighbour_id", "score"))
    return Contract("item_cooccurrence", table, "features", facts, rules, rows, ("item_id", "neighbour_id"))
