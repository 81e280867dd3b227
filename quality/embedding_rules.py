"""Contract of the item embeddings: shape, norms, missing numbers, coverage, and agreement with encoder and texts."""

from models.schema import ITEM_EMBEDDINGS
from quality.contracts import Between, Contract, Fact, Rule, schema_facts

NORM_TOLERANCE = 1e-3
"""How far the length of a vector may be from 1; float32 rounding stays far below."""


def embedding_contract(*, dimension: int | None = None, encoder_version: str = "") -> Contract:
    """Contract of `features.item_embeddings`.

    Args:
        dimension: Dimension of the encoder; the most frequent one of the table where it is not known.
        encoder_version: Version that all vectors must come from; any single one where empty.
    """
    table = ITEM_EMBEDDINGS
    name = table.qualified_name
    wanted = str(dimension) if dimension else f"(SELECT mode(len(embedding)) FROM {name})"
    uncovered = f"SELECT item_id FROM features.item_texts WHERE trim(text) <> '' EXCEPT SELECT item_id FROM {name}"
    orphans = f"SELECT item_id FROM {name} EXCEPT SELECT item_id FROM features.item_texts"
    stale = f"FROM {name} AS vector JOIN features.item_texts AS text USING (item_id) WHERE vector.text_hash <> "
    stale += "text.text_hash"
    other = f"encoder_version <> '{encoder_version}'" if encoder_version else "false"
    facts = (
        *schema_facts(table, unique_check="item_ids_are_unique"),
        Fact(
            "every_item_with_text_has_a_vector", "items", f"SELECT count(*) FROM ({uncovered})",
            "Every item with a text has a vector; materialise item_embeddings again.", sample=uncovered, unit="items",
        ),
        Fact(
            "no_vector_outlives_its_item", "items", f"SELECT count(*) FROM ({orphans})",
            "Every vector belongs to an item of the catalogue.", sample=orphans,
        ),
        Fact(
            "vectors_are_of_the_current_texts", "items", f"SELECT count(*) {stale}",
            "Every vector was made from the item's present text.", sample=f"SELECT item_id {stale}",
        ),
        Fact(
            "vectors_come_from_one_encoder", "versions",
            f"SELECT greatest(count(DISTINCT encoder_version) - 1, 0) + count(*) FILTER (WHERE {other}) FROM {name}",
            "All vectors come from the present encoder; vectors of two encoders cannot be compared.",
            sample=f"SELECT DISTINCT encoder_version FROM {name}", unit="vectors or versions",
        ),
    )  # fmt: skip
    rules = (
        Rule(
            "dimensions_equal_the_encoders", "excess_dimensions", Between(0, 0),
            "Every vector has the dimension of the encoder.",
        ),
        Rule("vectors_are_finite", "count_not_finite", Between(0, 0), "No number is missing, infinite or NaN."),
        Rule(
            "vectors_have_unit_length", "norm_error", Between(None, NORM_TOLERANCE),
            "Every vector has length 1, or 0 where the item has no text.",
        ),
    )  # fmt: skip
    rows = f"""
        SELECT
            item_id, len(embedding) - {wanted} AS excess_dimensions,
            len(list_filter(embedding, lambda x: x IS NULL OR NOT isfinite(x))) AS count_not_finite,
            CASE
                WHEN norm = 0 AND coalesce(trim(text.text), '') = '' THEN 0
                WHEN isfinite(norm) THEN abs(norm - 1)
                ELSE {NORM_TOLERANCE} + 1
            END AS norm_error
        FROM (SELECT *, sqrt(coalesce(list_sum(list_transform(embedding, lambda x: x::DOUBLE * x)), 0)) AS norm
              FROM {name})
        LEFT JOIN features.item_texts AS text USING (item_id)"""
    return Contract("item_embeddings", table, "embeddings", facts, rules, rows, ("item_id",))
