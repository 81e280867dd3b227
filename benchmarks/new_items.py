"""How long a new item with a text alone takes into the first list, and a withdrawn one out of all of them.

    python benchmarks/new_items.py --home HOME --items 20

HOME was built once (`freshet demo`). A `freshet nearline` is started on it, with its default settings. Then, for each
new item, a file with one row is moved into the landing zone: the text of an item that people take, under a new id. The
time runs from that move until a reader of the lake sees the item in a list; then a row that withdraws it lands, and the
time runs until no list holds it. The users who get it are compared with all others: how much of what they took has the
category of the new item.
"""

import argparse
import random
import sys
import time
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from nearline_workers import Worker, running
from run_facts import write_results

from assets.lake import Lake
from assets.warm_lake import warmed
from orchestration.home import open_lake
from orchestration.settings import load_settings

RESULT = Path(__file__).parent / "results" / "nearline" / "new_items.json"
BAR_S = 5.0
LONGEST_S = 120.0
_EVERY_S = 0.1

# Only lists that were made since an item is known can hold it; older files need not be read.
_HOLDERS = """
SELECT user_id FROM serving.top_k
WHERE input_snapshot >= ? AND list_contains(list_transform(items, lambda entry: entry.item_id), ?)
"""
_TAKEN = """
SELECT title, categories, brand_or_author, category FROM marts.items
WHERE count_interactions > 0 AND title IS NOT NULL AND category IS NOT NULL ORDER BY item_id
"""
_SHARE = """
SELECT i.user_id, avg((m.category = ?)::INTEGER) AS share
FROM marts.interactions AS i JOIN marts.items AS m USING (item_id) GROUP BY i.user_id
"""


def main() -> int:
    """Run the benchmark; returns 0 when both bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--items", type=int, default=20)
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    begun = time.perf_counter()
    settings = load_settings(home=options.home)
    lake = warmed(open_lake(settings))
    models = lake.frame(_TAKEN).sample(options.items, random_state=options.seed)
    log = settings.root.with_name(f"{settings.root.name}-worker.log")
    with running(Worker(settings, log)):
        found = [
            trial(lake, settings.landing_path, number, row) for number, row in enumerate(models.to_dict("records"))
        ]
    facts = summary(found) | {"bar_s": BAR_S, "settle_seconds": settings.settle_seconds}
    facts |= {name: count(lake, name) for name in ("marts.users", "marts.items")}
    facts["load_average"] = psutil.getloadavg()[0]
    facts["is_met"] = max(facts["seconds_to_list"]["p95"], facts["seconds_to_leave"]["p95"]) <= BAR_S
    write_results(RESULT, facts, begun=begun)
    print(facts)
    return 0 if facts["is_met"] else 1


def trial(lake: Lake, landing: Path, number: int, model: Mapping[Hashable, Any]) -> dict[str, Any]:
    """One new item and its withdrawal."""
    item = f"new-{number:03d}-{random.randrange(10**9):09d}"
    base = {"item_id": [item], "title": [model["title"]], "brand_or_author": [model["brand_or_author"]]}
    base |= {"categories": [list(model["categories"])]}
    since = lake.current_snapshot()
    appeared = waited(
        lake, (since, item), land(landing, f"{item}.a", base | {"updated_at": ["2026-01-01"]}), is_there=True
    )
    time.sleep(2)
    holders = set(lake.frame(_HOLDERS, [since, item])["user_id"])
    gone = base | {"available_until": ["2000-01-01"], "updated_at": ["2026-01-02"]}
    left = waited(lake, (since, item), land(landing, f"{item}.b", gone), is_there=False)
    shares = lake.frame(_SHARE, [model["category"]])
    is_holder = shares["user_id"].isin(holders)
    return {
        "appeared": appeared,
        "left": left,
        "users": len(holders),
        "share_of_category": float(shares.loc[is_holder, "share"].mean()),
        "share_of_category_others": float(shares.loc[~is_holder, "share"].mean()),
    }


def land(landing: Path, name: str, columns: dict[str, list[Any]]) -> float:
    """Move a file of items into the landing zone, whole at once; returns when."""
    unfinished = landing / "items" / f".{name}.parquet"
    pd.DataFrame(columns).to_parquet(unfinished)
    unfinished.replace(landing / "items" / f"{name}.parquet")
    return time.perf_counter()


def waited(lake: Lake, item: tuple[int, str], begun: float, *, is_there: bool) -> float:
    """Seconds until an item, with the snapshot before it, is in a list or in none; infinite where it takes too long.

    Lists are read only where something was committed, so that the reader leaves the cores to the worker.
    """
    snapshot = -1
    while time.perf_counter() - begun < LONGEST_S:
        if (newest := lake.current_snapshot()) != snapshot:
            snapshot = newest
            if bool(len(lake.frame(f"{_HOLDERS} LIMIT 1", list(item)))) == is_there:
                return time.perf_counter() - begun
        time.sleep(_EVERY_S)
    return float("inf")


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """What all trials come to."""
    frame = pd.DataFrame(found)
    return {
        "new_items": len(frame),
        "seconds_to_list": percentiles(frame["appeared"]),
        "seconds_to_leave": percentiles(frame["left"]),
        "users_with_the_item": percentiles(frame["users"]),
        "share_of_its_category_in_their_history": round(float(frame["share_of_category"].mean()), 4),
        "share_of_its_category_with_others": round(float(frame["share_of_category_others"].mean()), 4),
    }


def percentiles(values: Any) -> dict[str, float]:
    """Median, 95th percentile and largest."""
    names = ("p50", "p95", "max")
    ordered = np.sort(np.asarray(values, dtype=float))
    places = [min(int(np.ceil(share * len(ordered))) - 1, len(ordered) - 1) for share in (0.5, 0.95, 1.0)]
    return {name: round(float(ordered[place]), 2) for name, place in zip(names, places, strict=True)}


def count(lake: Lake, table: str) -> int:
    """Rows of a table."""
    return int(lake.frame(f"SELECT count(*) AS n FROM {table}")["n"].iloc[0])


if __name__ == "__main__":
    sys.exit(main())
