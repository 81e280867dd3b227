"""Contracts of the marts that dbt publishes: what the warehouse promises to features, models and analysts.

A fact over two tables belongs to the one that is built last, since a check runs right after its own table.
"""

from models.schema import MARTS, Table
from quality.contracts import (
    Between,
    Contract,
    Fact,
    Matches,
    Rule,
    Severity,
    newest_rows,
    rows_exist,
    schema_facts,
    violation,
)

_BY_NAME = {table.name: table for table in MARTS}


def mart_contracts() -> tuple[Contract, ...]:
    """Contracts of `interactions`, `hides`, `sessions`, `item_daily_stats`, `items` and `users`."""
    return (_interactions(), _hides(), _sessions(), _item_daily_stats(), _items(), _users())


def _interactions() -> Contract:
    weights = Rule("weights_are_positive", "weight", Between(5e-324, 1e9), "Every weight is above 0 and finite.")
    exist = rows_exist(
        _BY_NAME["interactions"], "Some events count as interest; see the event weights of the domain file."
    )
    return _of_events("interactions", "interaction", weights, exist)


def _hides() -> Contract:
    weights = Rule("weights_are_negative", "weight", Between(-1e9, -5e-324), "Every weight is below 0 and finite.")
    return _of_events("hides", "hide", weights)


def _of_events(name: str, one: str, weights: Rule, *more: Fact) -> Contract:
    """A mart with one row for each event of some kind, which `one` names."""
    table = _BY_NAME[name]
    facts = (
        *schema_facts(table, unique_check="event_ids_are_unique"),
        violation(
            table, "event_days_match_event_times", "event_day <> CAST(event_at AS DATE)",
            f"The partition of each {one} is the UTC day of its time.",
        ),
        violation(
            table, f"{name}_come_from_raw_events", "event_id NOT IN (SELECT event_id FROM raw.events)",
            f"Every {one} is an event of raw.events; the warehouse invents none.",
        ),
        *more,
    )  # fmt: skip
    rules = (weights, Rule("ids_are_not_blank", "item_id", Matches(r"\S"), "Item ids hold a visible character."))
    rows = newest_rows(table, ("event_id", "item_id", "weight"), newest="event_day")
    return Contract(name, table, "marts", facts, rules, rows, ("event_id",))


def _sessions() -> Contract:
    table = _BY_NAME["sessions"]
    rules = (
        Rule("sessions_end_after_they_start", "seconds", Between(0, None), "`ended_at` is not before `started_at`."),
        Rule("sessions_end_on_their_day", "seconds", Between(None, 86_400), "A session ends by midnight UTC."),
        Rule("counts_are_positive", "count_interactions", Between(1, None), "Every session has an interaction."),
        Rule("counts_are_positive", "count_items", Between(1, None), "Every session has an item."),
        Rule("items_are_at_most_interactions", "repeats", Between(0, None), "Items are counted once per session."),
    )
    columns = (
        "session_id", "epoch(ended_at) - epoch(started_at) AS seconds", "count_interactions", "count_items",
        "count_interactions - count_items AS repeats",
    )  # fmt: skip
    rows = newest_rows(table, columns, newest="event_day")
    facts = (
        *schema_facts(table, unique_check="session_ids_are_unique"),
        _unknown("every_interaction_has_its_session", "session_id", table, "Every interaction's session is listed."),
        _total("sessions_count_every_interaction", table, "count_interactions"),
    )
    return Contract("sessions", table, "marts", facts, rules, rows, ("session_id",))


def _item_daily_stats() -> Contract:
    table = _BY_NAME["item_daily_stats"]
    rules = (
        Rule("counts_are_positive", "count_interactions", Between(1, None), "Only days with interactions have a row."),
        Rule("counts_are_positive", "count_users", Between(1, None), "Only days with users have a row."),
        Rule("users_are_at_most_interactions", "repeats", Between(0, None), "Users are counted once per day."),
        Rule("weights_are_positive", "sum_weight", Between(5e-324, None), "The weights of a day sum to more than 0."),
    )
    columns = (
        "item_id", "event_day", "count_interactions", "count_users", "sum_weight",
        "count_interactions - count_users AS repeats",
    )  # fmt: skip
    rows = newest_rows(table, columns, newest="event_day")
    facts = (
        *schema_facts(table, unique_check="item_days_are_unique"),
        _total("stats_count_every_interaction", table, "count_interactions"),
    )
    return Contract("item_daily_stats", table, "marts", facts, rules, rows, ("item_id", "event_day"))


def _items() -> Contract:
    table = _BY_NAME["items"]
    rules = (
        Rule("ids_are_not_blank", "item_id", Matches(r"\S"), "Item ids hold a visible character."),
        Rule("counts_are_not_negative", "count_interactions", Between(0, None), "Interaction counts are at least 0."),
        Rule("prices_are_not_negative", "price", Between(0, None), "Prices are at least 0.", "warning"),
    )
    rows = newest_rows(table, ("item_id", "count_interactions", "price"), newest="updated_at")
    facts = (
        *schema_facts(table, unique_check="item_ids_are_unique"),
        Fact(
            "every_raw_item_is_published", "items",
            "SELECT count(*) FROM (SELECT item_id FROM raw.items EXCEPT SELECT item_id FROM marts.items)",
            "Every item of raw.items is in marts.items.",
            sample="SELECT item_id FROM raw.items EXCEPT SELECT item_id FROM marts.items", unit="items",
        ),
        _unknown(
            "every_used_item_is_in_the_catalogue", "item_id", table,
            "Every item of an interaction is in marts.items; land the missing items, "
            "until then they are recommended to nobody.",
            severity="warning",
        ),
        rows_exist(table, "The catalogue has items; put files under `landing/items` or run `freshet load`."),
    )  # fmt: skip
    return Contract("items", table, "marts", facts, rules, rows, ("item_id",))


def _users() -> Contract:
    table = _BY_NAME["users"]
    rules = (
        Rule("counts_are_not_negative", "count_interactions", Between(0, None), "Interaction counts are at least 0."),
        Rule(
            "first_event_is_before_last", "seconds", Between(0, None), "`first_event_at` is not after `last_event_at`."
        ),
    )
    columns = ("user_id", "count_interactions", "epoch(last_event_at) - epoch(first_event_at) AS seconds")
    rows = newest_rows(table, columns, newest="last_event_at")
    facts = (
        *schema_facts(table, unique_check="user_ids_are_unique"),
        _unknown("every_active_user_is_listed", "user_id", table, "Every user of an interaction is in marts.users."),
        _total("users_count_every_interaction", table, "count_interactions"),
    )
    return Contract("users", table, "marts", facts, rules, rows, ("user_id",))


def _unknown(check: str, column: str, table: Table, says: str, *, severity: Severity = "error") -> Fact:
    """Every value of a column of marts.interactions is in `table`, which is built after the interactions."""
    missing = f"SELECT {column} FROM marts.interactions EXCEPT SELECT {column} FROM {table.qualified_name}"
    return Fact(
        check, column, f"SELECT count(*) FROM ({missing})", says, sample=missing, severity=severity,
        unit=f"{column.removesuffix('_id')}s",
    )  # fmt: skip


def _total(check: str, table: Table, column: str) -> Fact:
    """The sum of a count column equals the number of interactions: no mart lags behind another."""
    summed = f"SELECT coalesce(sum({column}), 0) FROM {table.qualified_name}"
    return Fact(
        check, "difference", f"SELECT abs(({summed}) - (SELECT count(*) FROM marts.interactions))",
        f"`{column}` of {table.qualified_name} sums to the rows of marts.interactions; "
        "if not, build the days in `freshet status` again.", unit="interactions",
    )  # fmt: skip
