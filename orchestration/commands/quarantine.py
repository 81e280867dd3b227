"""`freshet quarantine`: what was refused and why, and another try."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from orchestration.commands.console import HomeOption, JsonOption, built_lake, err, out, print_json, settings_of

if TYPE_CHECKING:
    from assets.lake import Lake

app = typer.Typer(help="Rows that were refused: list them, or try them again.", no_args_is_help=True)

RuleOption = Annotated[str | None, typer.Option(help="Only rows that broke this rule.")]


@app.command("list")
def list_(
    rule: RuleOption = None,
    status: Annotated[Literal["open", "replayed"], typer.Option(help="Rows still refused, or those settled.")] = "open",
    limit: Annotated[int, typer.Option(min=1, help="Most rows to show.")] = 20,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """List refused rows with rule, file, row and value, after their counts by rule."""
    from assets.quarantine import count_by_rule, list_rows

    lake = built_lake(settings_of(home))
    with err().status("reading the refused rows"):
        rows = list_rows(lake, rule=rule, status=status, limit=limit)
    if as_json:
        counts = count_by_rule(lake).to_dict("records")
        print_json({"by_rule": counts, "rows": rows.astype(object).where(rows.notna(), None).to_dict("records")})
        return
    out().print(rules_table(lake))
    table = Table(title=f"The latest {len(rows):,} {status} rows", title_justify="left")
    for name in ("rule", "file", "row", "column", "value"):
        table.add_column(name, justify="right" if name == "row" else "left")
    for row in rows.to_dict("records"):
        cells = (row["rule"], row["source_file"], row["source_row"], row["column_name"], row["value"])
        table.add_row(*(escape("" if cell is None else str(cell)) for cell in cells))
    out().print(table)


@app.command()
def replay(rule: RuleOption = None, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Try refused rows again under today's rules and accept those that pass now."""
    from assets.domain import load_domain
    from assets.quarantine import replay as replay_rows

    settings = settings_of(home)
    lake = built_lake(settings)
    console = err()
    with console.status("trying the open rows again"):
        report = replay_rows(lake, load_domain(settings.domain), as_of=datetime.now(UTC), rule=rule)
    if as_json:
        print_json(
            {
                "open_before": report.open_before,
                "accepted": report.accepted,
                "duplicate": report.duplicate,
                "still_open": report.still_open,
                "days_touched": report.days_touched,
            }
        )
        return
    out().print(
        f"{report.open_before:,} open rows: {report.accepted:,} accepted, {report.duplicate:,} settled because their "
        f"content had come in meanwhile, {report.still_open:,} still refused"
    )
    if report.days_touched:
        days = f"{report.days_touched[0]} to {report.days_touched[-1]}"
        console.print(f"Days to build again: {days}; `freshet run` does it", soft_wrap=True)


def rules_table(lake: "Lake") -> Table:
    """Quarantined rows by rule, with what each rule says."""
    from assets.quarantine import count_by_rule

    table = Table(title="What was quarantined, and why", title_justify="left")
    table.add_column("kind")
    table.add_column("rule", no_wrap=True)
    table.add_column("open", justify="right")
    table.add_column("replayed", justify="right")
    table.add_column("why")
    says = _rule_messages()
    for row in count_by_rule(lake).to_dict("records"):
        why = says.get((row["kind"], row["rule"], row["column_name"] or ""), "")
        table.add_row(row["kind"], row["rule"], f"{row['open']:,}", f"{row['replayed']:,}", escape(why))
    if not table.row_count:
        table.add_row("", "none", "0", "0", "every row kept the rules")
    return table


def _rule_messages() -> dict[tuple[str, str, str], str]:
    from quality.landing_columns import KINDS
    from quality.row_rules import RuleContext, row_rules

    # The messages do not depend on the moment or the domain; the pattern only brings its rule into the list.
    context = RuleContext(datetime(2000, 1, 1), frozenset(), ".")
    return {(kind, rule.name, rule.column): rule.message for kind in KINDS for rule in row_rules(kind, context)}
