"""Contracts of the raw tables: what ingestion promises to the warehouse."""

from models.schema import OPS_FILES, RAW_EVENTS, RAW_ITEMS, RAW_USERS
from quality.contracts import Between, Contract, Fact, Matches, Rule, newest_rows, rows_exist, schema_facts, violation

FRESH_WITHIN_HOURS = 48
"""Most hours between the newest event and the ingestion that brought it."""

HISTORICAL_AFTER_HOURS = 24 * 365
"""Data older than this when ingested is an import of history, of which freshness says nothing."""

QUARANTINE_PERCENT = 2.0
"""Share of refused rows above which somebody should look at the source."""

_EARLIEST_SECOND = 0
_AHEAD_SECONDS = 86_400


def raw_contracts() -> tuple[Contract, ...]:
    """Contracts of `raw.events`, `raw.items` and `raw.users`."""
    return (_events(), _items(), _users())


def conservation_facts(kind: str, table: str) -> tuple[Fact, ...]:
    """No row of a landing file was lost: rows in = accepted + quarantined + duplicate, and the tables hold them.

    A quarantined row that a replay has accepted stays in the quarantine with the status `replayed`, so the raw
    table may hold as many rows more than the files' accepted ones as rows were replayed.

    Args:
        kind: `events`, `items` or `users`.
        table: Raw table of that kind.
    """
    files = f"FROM {OPS_FILES.qualified_name} WHERE kind = '{kind}'"
    unequal = "rows_in <> rows_accepted + rows_quarantined + rows_duplicate"
    replayed = f"SELECT count(*) FROM quarantine.rows WHERE kind = '{kind}' AND status = 'replayed'"
    accepted = f"SELECT coalesce(sum(rows_accepted), 0) {files}"
    held = f"SELECT count(*) FROM {table}"
    refused = f"""
        SELECT file_name FROM {OPS_FILES.qualified_name} AS file
        LEFT JOIN (SELECT file_hash, count(*) AS held FROM quarantine.rows GROUP BY file_hash) USING (file_hash)
        WHERE kind = '{kind}' AND rows_quarantined <> coalesce(held, 0)"""
    says = "For every landing file: rows in = rows accepted + rows quarantined + exact duplicates."
    return (
        Fact(
            "every_file_is_conserved", "files", f"SELECT count(*) {files} AND {unequal}", says,
            sample=f"SELECT file_name {files} AND {unequal}", unit="files",
        ),
        Fact(
            "every_file_is_conserved", "rows_missing_in_raw",
            f"SELECT greatest(({accepted}) - ({held}), ({held}) - ({accepted}) - ({replayed}), 0)",
            f"{table} holds exactly the rows that its files and replays were credited with.", unit="rows missing",
        ),
        Fact(
            "every_file_is_conserved", "files_missing_in_quarantine", f"SELECT count(*) FROM ({refused})",
            "The quarantine holds every refused row of every file.", sample=refused, unit="files",
        ),
        Fact(
            "quarantine_rate_is_low", "percent",
            f"SELECT 100.0 * sum(rows_quarantined) / nullif(sum(rows_in), 0) {files}",
            f"At most {QUARANTINE_PERCENT:g} % of the source rows are refused; "
            "see them with `freshet quarantine list`, mend the source, then `freshet quarantine replay`.",
            sample=f"SELECT rule || ': ' || count(*) FROM quarantine.rows WHERE kind = '{kind}' GROUP BY rule "
            "ORDER BY count(*) DESC",
            maximum=QUARANTINE_PERCENT, severity="warning", unit="percent of the rows",
        ),
    )  # fmt: skip


def _events() -> Contract:
    table = RAW_EVENTS
    lag = "date_diff('hour', max(event_at), max(ingested_at))"
    facts = (
        *schema_facts(table, unique_check="event_ids_are_unique"),
        *conservation_facts("events", table.qualified_name),
        violation(
            table, "event_types_are_known", "event_type NOT IN (SELECT event_type FROM raw.event_types)",
            "Every event type has a weight in the domain file; add the type there, or quarantine it.",
            shows="event_type",
        ),
        violation(
            table, "event_days_match_event_times", "event_day <> CAST(event_at AS DATE)",
            "The partition of an event is the UTC day of its time.",
        ),
        violation(
            table, "values_are_finite", "NOT isfinite(value)", "No value is infinite or not a number.",
        ),
        rows_exist(table, "Events have been landed; put files under `landing/events` or run `freshet load`."),
        Fact(
            "events_are_fresh", "hours",
            f"SELECT CASE WHEN {lag} > {HISTORICAL_AFTER_HOURS} THEN 0 ELSE greatest({lag}, 0) END "
            f"FROM {table.qualified_name}",
            f"The newest event is at most {FRESH_WITHIN_HOURS} hours older than the ingestion that brought it; "
            "an import of history, over a year old, is not judged. See whether the source still delivers.",
            sample=f"SELECT 'newest event ' || max(event_at) FROM {table.qualified_name}",
            maximum=FRESH_WITHIN_HOURS, severity="warning", unit="hours",
        ),
    )  # fmt: skip
    rules = (
        Rule("event_times_are_plausible", "event_second", Between(_EARLIEST_SECOND, None), "No event is before 1970."),
        Rule(
            "event_times_are_plausible", "seconds_ahead", Between(None, _AHEAD_SECONDS),
            "No event lies more than a day after its ingestion.",
        ),
        Rule("ids_are_not_blank", "item_id", Matches(r"\S"), "Item ids hold a visible character."),
        Rule("source_rows_are_known", "source_row", Between(1, None), "Every row names its 1-based source row."),
    )  # fmt: skip
    columns = (
        "event_id", "item_id", "epoch(event_at) AS event_second",
        "epoch(event_at) - epoch(ingested_at) AS seconds_ahead", "source_row",
    )  # fmt: skip
    rows = newest_rows(table, columns, newest="ingested_at")
    return Contract("raw_events", table, "raw", facts, rules, rows, ("event_id",))


def _items() -> Contract:
    table = RAW_ITEMS
    has_no_text = (
        "coalesce(trim(title), '') = '' AND coalesce(trim(description), '') = '' AND coalesce(len(categories), 0) = 0"
    )
    facts = (
        *schema_facts(table, unique_check="item_versions_are_unique"),
        *conservation_facts("items", table.qualified_name),
        violation(table, "prices_are_finite", "NOT isfinite(price)", "No price is infinite or not a number."),
        violation(
            table, "items_have_text", has_no_text,
            "Every item has a title, description or category; one without can only be found by behaviour.",
            severity="warning",
        ),
        rows_exist(table, "Items have been landed; put files under `landing/items` or run `freshet load`."),
    )  # fmt: skip
    rules = (
        Rule("ids_are_not_blank", "item_id", Matches(r"\S"), "Item ids hold a visible character."),
        Rule("prices_are_not_negative", "price", Between(0, None), "Prices are at least 0.", "warning"),
        Rule(
            "availability_ends_after_it_starts", "available_seconds", Between(1, None),
            "`available_until` lies after `available_from`; otherwise the item can never be recommended.", "warning",
        ),
        Rule("source_rows_are_known", "source_row", Between(1, None), "Every row names its 1-based source row."),
    )  # fmt: skip
    available = "epoch(available_until) - epoch(available_from) AS available_seconds"
    rows = newest_rows(table, ("item_id", "price", available, "source_row"), newest="ingested_at")
    return Contract("raw_items", table, "raw", facts, rules, rows, ("item_id",))


def _users() -> Contract:
    table = RAW_USERS
    facts = (
        *schema_facts(table, unique_check="user_versions_are_unique"),
        *conservation_facts("users", table.qualified_name),
    )
    rules = (Rule("source_rows_are_known", "source_row", Between(1, None), "Every row names its 1-based source row."),)
    rows = newest_rows(table, ("user_id", "source_row"), newest="ingested_at")
    return Contract("raw_users", table, "raw", facts, rules, rows, ("user_id",))
