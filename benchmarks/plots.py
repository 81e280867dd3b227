"""Pictures and tables from the committed results; nothing is measured here.

python benchmarks/plots.py                                # pictures into docs/pictures/, tables on standard output
python benchmarks/plots.py --readme README.md             # and the tables between the README's markers
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from result_tables import (
    LABELS,
    accuracy_table,
    by_dataset,
    costs_table,
    peers_table,
    read_results,
    replace_between,
)

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
README_TABLES = {
    "beauty": "amazon-reviews, leave-one-out",
    "beauty-last": "amazon-reviews, temporal-last",
    "ml-1m": "ml-1m, leave-one-out",
    "ml-100k": "ml-100k, temporal-last",
}
"""Dataset and protocol by the marker in the README."""
PEERS_OF_README = "amazon-reviews.leave-one-out.p5_position"
BLUE, GREY, ORANGE = "#2a6fbb", "#b8b8b8", "#d97a28"


def main() -> None:
    """Draw what there is and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, default=PICTURES)
    parser.add_argument("--readme", type=Path, help="file whose table is to be replaced")
    arguments = parser.parse_args()
    accuracy, peers, cold = (read_results(kind) for kind in ("accuracy", "peers", "cold_items"))
    for title, columns in by_dataset(accuracy).items():
        print(f"\n{title}\n\n{accuracy_table(columns)}")
        for run in columns.values():
            if costs := costs_table(run):
                print(f"\n{costs}")
    for name, run in peers.items():
        print(f"\npeers, {name}\n\n{peers_table(run)}")
    figures = {f"accuracy-{name}": accuracy_bars(run, peers.get(name)) for name, run in accuracy.items()}
    figures |= {f"diversity-{name}": accuracy_over_diversity(run) for name, run in accuracy.items()}
    figures |= {f"training-{name}": training_curve(run) for name, run in accuracy.items() if run.get("training_curves")}
    figures |= {f"cold-items-{name}": cold_curve(run) for name, run in cold.items()}
    figures |= {f"cold-users-{name}": events_curve(run) for name, run in read_results("cold_users").items()}
    figures |= {f"varied-lists-{name}": method_curves(run) for name, run in read_results("diversity").items()}
    figures |= {
        name.replace(".", "-"): staleness_curves(run)
        for name, run in read_results("nearline").items()
        if "staleness" in run
    }
    figures |= {
        f"nearline-{name}": touched_curve(run) for name, run in read_results("nearline").items() if "curve" in run
    }
    arguments.pictures.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        file = arguments.pictures / f"{name}.png"
        figure.savefig(file, dpi=110, metadata={"Software": None})
        print(f"wrote {file.name}")
    if arguments.readme is not None:
        text = arguments.readme.read_text(encoding="utf-8")
        grouped = by_dataset(accuracy)
        for marker, wanted in README_TABLES.items():
            if wanted in grouped:
                text = replace_between(text, marker, accuracy_table(grouped[wanted]))
        if PEERS_OF_README in peers:
            text = replace_between(text, "peers", peers_table(peers[PEERS_OF_README]))
        arguments.readme.write_text(text, encoding="utf-8")


def accuracy_bars(run: Mapping[str, Any], peers: Mapping[str, Any] | None) -> Figure:
    """NDCG@10 on the test with intervals: the fusion in blue, our other models in grey, peers in orange."""
    ours = {plain(name): facts["metrics"]["ndcg@10"] for name, facts in run["models"].items()}
    theirs = {name: facts["test"]["ndcg@10"] for name, facts in (peers or {"models": {}})["models"].items()}
    both = {**ours, **theirs}
    names = sorted(both, key=lambda name: both[name]["value"])
    colours = [BLUE if name == plain("fusion") else ORANGE if name in theirs else GREY for name in names]
    figure = Figure(figsize=(7.2, 0.9 + 0.32 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    values = [both[name]["value"] for name in names]
    below = [both[name]["value"] - both[name]["low"] for name in names]
    above = [both[name]["high"] - both[name]["value"] for name in names]
    axes.barh(names, values, xerr=(below, above), color=colours, ecolor="#555555", capsize=2)
    axes.set(title=heading(run), xlabel="NDCG@10 on the test, 95 % intervals")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def accuracy_over_diversity(run: Mapping[str, Any]) -> Figure:
    """Each model by how different the items of a list are and how accurate the lists are."""
    figure, axes = one_panel()
    for name, facts in run["models"].items():
        across, up = facts["effects"].get("category_diversity@10"), facts["metrics"]["ndcg@10"]["value"]
        if across is None or up is None:
            continue
        axes.scatter(across, up, color=BLUE if name == "fusion" else GREY)
        axes.annotate(plain(name), (across, up), xytext=(5, 4), textcoords="offset points", fontsize=8)
    axes.margins(x=0.25, y=0.12)
    axes.set(
        title=f"{heading(run)}: accuracy over diversity",
        xlabel="share of pairs in a list with different categories",
        ylabel="NDCG@10",
    )
    return figure


def training_curve(run: Mapping[str, Any]) -> Figure:
    """Training loss by epoch of every model that kept it, one panel each."""
    curves: Mapping[str, list[list[float]]] = run["training_curves"]
    figure = Figure(figsize=(4.6 * len(curves), 3.2), layout="constrained")
    for place, (name, points) in enumerate(curves.items()):
        axes = figure.add_subplot(1, len(curves), place + 1)
        axes.plot([point[0] for point in points], [point[1] for point in points], color=BLUE, marker="o", markersize=3)
        axes.set(title=f"{plain(name)}: training loss", xlabel="epoch")
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def cold_curve(run: Mapping[str, Any]) -> Figure:
    """What showing items without interactions gives their takers and costs all users, each way as a line."""
    figure, axes = one_panel()
    chosen = run["chosen_places"], run.get("chosen_lift")
    ways = {False: ("reserved places", GREY), True: ("placed by chance", BLUE)}
    for is_lifted, (way, color) in ways.items():
        options = [option for option in run["test"] if (option.get("lift") is not None) == is_lifted]
        points = [(option["recall"], option["cold_recall"]) for option in options]
        if points:
            axes.plot(*zip(*points, strict=True), color=color, marker="o", markersize=4, label=way)
        for option, point in zip(options, points, strict=True):
            name = f"lift {option['lift']:g}" if is_lifted else f"{len(option['places'])} places"
            is_chosen = (option["places"], option.get("lift")) == chosen
            axes.annotate(name + " (chosen)" * is_chosen, point, xytext=(5, 4), textcoords="offset points", fontsize=8)
    axes.set(
        title=f"{run['dataset']}: new items in the lists, test",
        xlabel="Recall@10, all users",
        ylabel="Recall@10, users who take a new item",
    )
    axes.margins(x=0.2)
    axes.legend(frameon=False)
    return figure


def events_curve(run: Mapping[str, Any]) -> Figure:
    """Accuracy over the number of events that are known of a user, with intervals."""
    figure, axes = one_panel()
    rows = run["rows"]
    values = [row["ndcg@10"] for row in rows]
    below = [row["ndcg@10"] - row["low"] for row in rows]
    above = [row["high"] - row["ndcg@10"] for row in rows]
    axes.errorbar([row["known"] for row in rows], values, yerr=(below, above), color=BLUE, marker="o", capsize=3)
    axes.set(title=f"{run['dataset']}: new users", xlabel="known events of the user", ylabel="NDCG@10")
    return figure


def staleness_curves(run: Mapping[str, Any]) -> Figure:
    """Accuracy of the next item over how late events reach the lists, with intervals; one line for each part."""
    figure, axes = one_panel()
    names = list(dict.fromkeys(row["delay"] for row in run["staleness"]))
    for part, colour in zip(dict.fromkeys(row["part"] for row in run["staleness"]), (BLUE, GREY, ORANGE), strict=False):
        rows = [row for row in run["staleness"] if row["part"] == part]
        values = [row["ndcg@10"] for row in rows]
        errors = [
            [row["ndcg@10"] - row["ndcg@10_low"] for row in rows],
            [row["ndcg@10_high"] - row["ndcg@10"] for row in rows],
        ]
        label = f"{part} ({rows[0]['users']} users)"
        axes.errorbar(range(len(rows)), values, yerr=errors, color=colour, marker="o", capsize=3, label=label)
    axes.set_xticks(range(len(names)), names)
    axes.set(
        title=f"{run['dataset']}: accuracy over staleness",
        xlabel="until an event is in the user's list",
        ylabel="NDCG@10 of the next item, 95 % intervals",
        ylim=(0, None),
    )
    axes.legend(frameon=False, fontsize=8)
    return figure


def touched_curve(run: Mapping[str, Any]) -> Figure:
    """Seconds of one nearline step over the users that it touches, a line for each size of catalogue."""
    figure, axes = one_panel()
    for items in sorted({point["items"] for point in run["curve"]}):
        points = [(point["users"], point["seconds"]) for point in run["curve"] if point["items"] == items]
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=f"{items:,} items")
    axes.set(title="one nearline step", xlabel="touched users", ylabel="seconds", xscale="log", yscale="log")
    axes.legend(frameon=False)
    return figure


def method_curves(run: Mapping[str, Any]) -> Figure:
    """What each way of making lists more varied costs: a line for each method, a point for each weight."""
    figure, axes = one_panel()
    for method in dict.fromkeys(row["method"] for row in run["rows"]):
        rows = [row for row in run["rows"] if row["method"] == method]
        axes.plot(
            [row["diversity@10"] for row in rows], [row["ndcg@10"] for row in rows], marker="o", label=method or "none"
        )
    axes.set(title=f"{run['domain']}: ways to more varied lists", xlabel="diversity@10", ylabel="NDCG@10")
    axes.legend(frameon=False)
    return figure


def one_panel() -> tuple[Figure, Axes]:
    """A figure with one plain panel."""
    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def heading(run: Mapping[str, Any]) -> str:
    """Dataset and protocol in words."""
    order = f", {run['tie_order']}" if run["dataset"] == "amazon-reviews" else ""
    return f"{run['dataset']}, {run['protocol']}{order}"


def plain(name: str) -> str:
    """Label of a model without markdown."""
    return LABELS.get(name, name).strip("*")


if __name__ == "__main__":
    main()
