"""`freshet evaluate`: the latest evaluation report."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from rich.table import Table

from orchestration.commands.console import HomeOption, JsonOption, built_lake, err, out, print_json, settings_of

if TYPE_CHECKING:
    from assets.lake import Lake
    from orchestration.settings import Settings

_HEADLINES = ("recall@10", "ndcg@10", "mrr@10")
_LEAVE_ONE_OUT = (
    "Global temporal split. For leave-one-out with full ranking, to compare with papers: "
    "`python benchmarks/accuracy.py --data PATH --source SOURCE --protocol leave-one-out`"
)


def evaluate(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Print the latest evaluation: the lists beside popularity and each retriever, with intervals, and the decision."""
    settings = settings_of(home)
    lake = built_lake(settings)
    with err().status("looking up the latest report"):
        folder = report_folder(settings, lake)
    if as_json:
        print_json({"folder": folder, "decision": _decision(folder), **report_facts(folder)})
        return
    console = out()
    text = (folder / "report.md").read_text(encoding="utf-8")
    if console.is_terminal:
        from rich.markdown import Markdown

        console.print(Markdown(text))
    else:
        console.print(text, markup=False, soft_wrap=True)
    err().print(f"Report with figures: {folder}\n{_LEAVE_ONE_OUT}", soft_wrap=True, markup=False)


def report_folder(settings: "Settings", lake: "Lake") -> Path:
    """Folder of the latest report.

    Raises:
        DataError: nothing was evaluated yet.
    """
    from assets.artifacts import ArtifactStore
    from assets.builds import built_version
    from assets.evaluation import REPORT, REPORT_KIND

    return ArtifactStore(settings.artifacts_path).path(REPORT_KIND, built_version(lake, REPORT))


def report_facts(folder: Path) -> dict[str, Any]:
    """Numbers of a report: `results` by model, `new_users` and `stages`."""
    facts: dict[str, Any] = orjson.loads((folder / "evaluation.json").read_bytes())
    return facts


def accuracy_table(folder: Path) -> Table:
    """The lists beside popularity and each retriever, best first, with 95 % intervals."""
    results = report_facts(folder)["results"]
    table = Table(title="How good the lists are (last days held out, full ranking)", title_justify="left")
    table.add_column("model")
    for metric in _HEADLINES:
        table.add_column(metric, justify="right")
    for name in sorted(results, key=lambda model: -_value(results[model], "ndcg@10")):
        style = "bold" if name == "challenger" else ""
        shown = "fusion of all (what is served)" if name == "challenger" else name
        table.add_row(shown, *(_cell(results[name]["metrics"].get(metric)) for metric in _HEADLINES), style=style)
    return table


def decision_words(folder: Path) -> str:
    """Whether the gate accepted the challenger, and why."""
    decision = _decision(folder)
    verdict = "accepted" if decision["accepted"] else "refused"
    return f"The gate {verdict} it: {' '.join(decision['reasons'])}"


def _decision(folder: Path) -> dict[str, Any]:
    decision: dict[str, Any] = orjson.loads((folder / "decision.json").read_bytes())
    return decision


def _value(result: dict[str, Any], metric: str) -> float:
    interval = result["metrics"].get(metric)
    return -1.0 if interval is None or interval["value"] is None else float(interval["value"])


def _cell(interval: dict[str, float | None] | None) -> str:
    if interval is None or interval["value"] is None:
        return ""
    return f"{interval['value']:.4f} \\[{interval['low']:.4f}, {interval['high']:.4f}]"
