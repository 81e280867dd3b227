"""Contract of the served lists: complete, distinct, available, unseen, ordered, and not expired.

Every list is audited, not a sample: SQL makes one row of small numbers per list, and the rules read those. Lists of the
nearline lane are ahead of the warehouse: events and items that it has not built yet count neither for nor against them.
"""

from dataclasses import dataclass

from models.schema import TOP_K
from quality.contracts import Between, Contract, EqualsColumn, Fact, Matches, Rule, schema_facts


@dataclass(frozen=True)
class ListPromise:
    """What the configured domain promises of a list."""

    top_k: int = 20
    """Wanted length."""

    exclude_seen: bool = True
    """Whether items that the user has interacted with are left out."""

    surface: str = "home"
    """Surface that every active user must have a list for."""


def top_k_contract(promise: ListPromise) -> Contract:
    """Contract of `serving.top_k`.

    Lists of a lane are judged at one moment: the end of the last built day, or its newest `generated_at` if later.
    """
    surface = promise.surface.replace("'", "''")
    missing = (
        "SELECT user_id FROM features.user_histories EXCEPT "
        f"SELECT user_id FROM {TOP_K.qualified_name} WHERE surface = '{surface}'"
    )
    broken = (
        "SELECT user_id FROM serving.top_k_items GROUP BY surface, user_id "
        "HAVING min(rank) <> 1 OR max(rank) <> count(*) OR count(DISTINCT rank) <> count(*)"
    )
    facts = (
        *schema_facts(TOP_K, unique_check="each_user_has_one_list_per_surface"),
        Fact(
            "every_active_user_has_a_list", "user_id", f"SELECT count(*) FROM ({missing})",
            "Every user with a history has a list; materialise top_k again.", sample=missing,
        ),
        Fact(
            "ranks_are_contiguous", "user_id", f"SELECT count(*) FROM ({broken})",
            "The ranks of a list run from 1 without a gap.", sample=broken,
        ),
    )  # fmt: skip
    return Contract("top_k", TOP_K, "top_k", facts, _rules(promise), _audit(promise), ("surface", "user_id"))


def _rules(promise: ListPromise) -> tuple[Rule, ...]:
    seen = "No list holds an item that the user had interacted with or hidden when it was made."
    if not promise.exclude_seen:
        seen = "No list holds an item that the user had hidden when it was made; seen ones may come again."
    return (
        Rule(
            "every_list_is_complete", "count_items", EqualsColumn("count_expected"),
            f"Every list has {promise.top_k} items, or all that are available and allowed where those are fewer.",
        ),
        Rule("items_are_distinct", "count_repeated", Between(0, 0), "No item appears twice in a list."),
        Rule("items_are_available", "count_unavailable", Between(0, 0), "Every item may be recommended at this time."),
        Rule("items_are_unseen", "count_seen", Between(0, 0), seen),
        Rule("items_are_not_blocked", "count_blocked", Between(0, 0), "No item is blocked by a business rule."),
        Rule("scores_are_finite", "count_not_finite", Between(0, 0), "No score is missing, infinite or NaN."),
        Rule(
            "scores_are_ordered", "count_out_of_order", Between(0, 0),
            "Scores never rise along a list, so that any reader who sorts by score keeps the order of the list.",
        ),
        Rule(
            "terms_add_up_to_the_score", "count_unexplained", Between(0, 0),
            "The contributions of every item add up to its score within 0.001; without any, nothing is asked.",
        ),
        Rule(
            "propensities_are_probabilities", "count_not_a_chance", Between(0, 0),
            "Every propensity is above 0 and at most 1.",
        ),
        Rule(
            "lists_are_not_expired", "seconds_left", Between(1, None),
            "No list has expired; run the job top_k_refresh, and see `freshet status` for what blocks it.",
        ),
        Rule("lists_name_their_model", "model_version", Matches(r"\S"), "Every list says which model made it."),
    )  # fmt: skip


# What may be recommended, by surface and lane: the nearline lane goes on as time passes, the batch lane with the data.
_OFFERED = f"""
clock AS (
    SELECT
        lane,
        greatest((SELECT max(event_day) + INTERVAL 1 DAY FROM marts.interactions), max(generated_at)) AS as_of
    FROM {TOP_K.qualified_name} GROUP BY lane
),
blocked AS (
    SELECT DISTINCT item.item_id, rule.surface, lane
    FROM marts.items AS item
    JOIN serving.item_rules AS rule
        ON (rule.field = 'item_id' AND item.item_id = rule.match)
        OR (rule.field = 'category' AND item.category = rule.match)
        OR (rule.field = 'brand_or_author' AND item.brand_or_author = rule.match)
    CROSS JOIN clock
    WHERE rule.action = 'block'
        AND coalesce(rule.valid_from <= as_of, true) AND coalesce(as_of < rule.valid_until, true)
),
available AS (
    SELECT item_id, lane FROM marts.items CROSS JOIN clock
    WHERE coalesce(available_from <= as_of, true) AND coalesce(as_of < available_until, true)
),
surfaces AS (SELECT DISTINCT surface FROM {TOP_K.qualified_name}),
allowed AS (
    SELECT surfaces.surface, available.lane, available.item_id FROM surfaces CROSS JOIN available
    WHERE NOT EXISTS (
        SELECT 1 FROM blocked
        WHERE blocked.item_id = available.item_id AND blocked.lane = available.lane
            AND coalesce(blocked.surface = surfaces.surface, true)
    )
),
"""

# What is wrong with the items of each list.
_FLAWS = f"""
stock AS (SELECT surface, lane, count(*) AS count_allowed FROM allowed GROUP BY surface, lane),
entries AS (
    SELECT surface, user_id, lane, unnest(items).item_id AS item_id FROM {TOP_K.qualified_name}
),
flaws AS (
    SELECT
        entries.surface, entries.user_id,
        count(*) FILTER (
            WHERE available.item_id IS NULL AND NOT (entries.lane = 'nearline' AND unbuilt.item_id IS NOT NULL)
        ) AS count_unavailable,
        count(*) FILTER (WHERE seen_pairs.item_id IS NOT NULL) AS count_seen,
        count(*) FILTER (WHERE available.item_id IS NOT NULL AND allowed.item_id IS NULL) AS count_blocked
    FROM entries
    LEFT JOIN available ON available.item_id = entries.item_id AND available.lane = entries.lane
    LEFT JOIN allowed
        ON allowed.item_id = entries.item_id AND allowed.surface = entries.surface AND allowed.lane = entries.lane
    LEFT JOIN seen_pairs ON seen_pairs.item_id = entries.item_id AND seen_pairs.user_id = entries.user_id
    LEFT JOIN unbuilt ON unbuilt.item_id = entries.item_id
    GROUP BY entries.surface, entries.user_id
),
"""

# One row of small numbers for each list.
_ROWS = f"""
SELECT
    list.surface, list.user_id, list.model_version, len(items) AS count_items,
    greatest(count_least, least(len(items), count_most), 0) AS count_expected,
    len(items) - len(list_distinct(list_transform(items, lambda entry: entry.item_id))) AS count_repeated,
    coalesce(count_unavailable, 0) AS count_unavailable,
    coalesce(count_seen, 0) AS count_seen,
    coalesce(count_blocked, 0) AS count_blocked,
    len(list_filter(items, lambda entry: entry.score IS NULL OR NOT isfinite(entry.score))) AS count_not_finite,
    len(list_filter(
        items,
        lambda entry: entry.contributions IS NOT NULL
            AND abs(coalesce(list_sum(list_transform(entry.contributions, lambda part: part.amount)), 0) - entry.score)
            > 0.001
    )) AS count_unexplained,
    len(list_filter(
        items, lambda entry: entry.propensity IS NOT NULL AND NOT (entry.propensity > 0 AND entry.propensity <= 1)
    )) AS count_not_a_chance,
    len(list_filter(
        range(2, len(items) + 1), lambda place: items[place].score > items[place - 1].score
    )) AS count_out_of_order,
    epoch(expires_at) - (SELECT max(epoch(as_of)) FROM clock) AS seconds_left
FROM {TOP_K.qualified_name} AS list
JOIN lengths ON lengths.surface = list.surface AND lengths.user_id = list.user_id
LEFT JOIN flaws ON flaws.surface = list.surface AND flaws.user_id = list.user_id
"""


def _audit(promise: ListPromise) -> str:
    return f"WITH {_OFFERED} {_seen(promise)} {_FLAWS} {_lengths(promise)} {_ROWS}"


def _seen(promise: ListPromise) -> str:
    """What each user has seen or hidden for sure, and what perhaps."""
    seen_pairs = "FROM hidden UNION FROM seen" if promise.exclude_seen else "SELECT DISTINCT * FROM hidden"
    return f"""
-- Events that the nearline lane knew of and the warehouse has not built; a later event of a day may undo earlier ones.
waiting AS (
    SELECT DISTINCT event.user_id, event.event_day, event.item_id
    FROM raw.events AS event
    SEMI JOIN ops.pending_days USING (event_day)
    SEMI JOIN (SELECT user_id FROM {TOP_K.qualified_name} WHERE lane = 'nearline') AS ahead USING (user_id)
),
unbuilt AS (SELECT DISTINCT item_id FROM raw.items ANTI JOIN marts.items USING (item_id)),
seen AS (
    SELECT list.user_id, past.item_id
    FROM {TOP_K.qualified_name} AS list
    JOIN marts.interactions AS past ON past.user_id = list.user_id AND past.event_at < list.generated_at
    ANTI JOIN waiting ON waiting.user_id = past.user_id AND waiting.event_day = past.event_day
),
-- Until the user takes an interest in the item again, of which events that wait may tell.
hidden AS (
    SELECT hide.user_id, hide.item_id
    FROM marts.hides AS hide
    JOIN {TOP_K.qualified_name} AS list ON list.user_id = hide.user_id AND hide.event_at < list.generated_at
    ANTI JOIN marts.interactions AS later
        ON later.user_id = hide.user_id AND later.item_id = hide.item_id AND later.event_at >= hide.event_at
    ANTI JOIN waiting ON waiting.user_id = hide.user_id
),
seen_pairs (user_id, item_id) AS ({seen_pairs}),
perhaps_seen (user_id, item_id) AS (
    (
        SELECT user_id, item_id FROM waiting
        UNION SELECT user_id, item_id FROM marts.interactions SEMI JOIN waiting USING (user_id, event_day)
        UNION SELECT user_id, item_id FROM marts.hides SEMI JOIN waiting USING (user_id)
    ) EXCEPT FROM seen_pairs
),
unreachable AS (
    SELECT
        allowed.surface, allowed.lane, user_id,
        count(*) FILTER (WHERE is_sure) AS count_seen_allowed, count(*) AS count_most_seen
    FROM (
        SELECT user_id, item_id, true AS is_sure FROM seen_pairs
        UNION ALL SELECT user_id, item_id, false FROM perhaps_seen
    ) JOIN allowed USING (item_id) GROUP BY ALL
),
"""


def _lengths(promise: ListPromise) -> str:
    """The fewest and the most items that each list may have."""
    return f"""
lengths AS (
    SELECT
        list.surface, list.user_id,
        least({promise.top_k}, coalesce(count_allowed, 0) - coalesce(count_most_seen, 0)) AS count_least,
        least({promise.top_k}, coalesce(count_allowed, 0) - coalesce(count_seen_allowed, 0)
            + CASE WHEN list.lane = 'nearline' THEN (SELECT count(*) FROM unbuilt) ELSE 0 END) AS count_most
    FROM {TOP_K.qualified_name} AS list
    LEFT JOIN stock ON stock.surface = list.surface AND stock.lane = list.lane
    LEFT JOIN unreachable
        ON unreachable.surface = list.surface AND unreachable.lane = list.lane AND unreachable.user_id = list.user_id
)
"""
