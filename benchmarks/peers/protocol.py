"""What every runner of a peer shares. It runs in the peer's environment, so it needs nothing but numpy and pandas."""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

TOP_K = 20
PARTS = ("validation", "test")


@dataclass(frozen=True)
class Data:
    """A split, as `benchmarks/exchange.py` writes it."""

    train: pd.DataFrame
    """`user, item, place`."""
    history: dict[str, pd.DataFrame]
    """By part: the same, what may be known of the users."""
    targets: dict[str, pd.DataFrame]
    """By part: `user, item`, ascending by user."""
    item_count: int
    user_count: int

    def users(self, part: str) -> np.ndarray:
        """Users to make lists for, ascending."""
        return np.unique(self.targets[part]["user"].to_numpy())


@dataclass(frozen=True)
class Fitted:
    """A trained model of a peer."""

    lists: Callable[[str], np.ndarray]
    """Part to lists, (users, 20), best first, -1 behind the end; items of the history left out."""
    settings: Mapping[str, object]
    """All that was set, and what training did, such as the epochs it got to."""


Fit = Callable[[Data, float], Fitted]
"""Trains on `train` for at most about so many processor seconds."""
Check = Callable[[np.ndarray, pd.DataFrame, int], dict[str, float]]
"""Lists, targets and k to means by the library's own metrics, under our names."""


def read(folder: Path) -> Data:
    """Read a split."""
    history = {part: pd.read_parquet(folder / f"{part}.history.parquet") for part in PARTS}
    targets = {part: pd.read_parquet(folder / f"{part}.targets.parquet").sort_values("user") for part in PARTS}
    users = max(int(frame["user"].max()) for frame in (*history.values(), *targets.values())) + 1
    items = len(pd.read_parquet(folder / "items.parquet"))
    return Data(pd.read_parquet(folder / "train.parquet"), history, targets, items, users)


def top_lists(rows: pd.DataFrame, users: np.ndarray) -> np.ndarray:
    """A long table `user, item, rank` (from 1) as lists, (users, 20)."""
    lists = np.full((len(users), TOP_K), -1, dtype=np.int32)
    kept = rows[rows["rank"] <= TOP_K]
    lists[np.searchsorted(users, kept["user"].to_numpy()), kept["rank"].to_numpy() - 1] = kept["item"].to_numpy()
    return lists


def main(fits: dict[str, Fit], check: Check, version: str) -> None:
    """The command line of a runner: train a model and write its lists, or judge lists by the library's metrics."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", choices=sorted(fits))
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--check", type=Path, help="lists of the test part to judge")
    arguments = parser.parse_args()
    data = read(arguments.data)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.check is not None:
        judged = check(np.load(arguments.check), data.targets["test"], 10)
        (arguments.out / "check.json").write_text(json.dumps({"version": version, "metrics": judged}))
        return
    begun = time.perf_counter(), time.process_time()
    fitted = fits[arguments.model](data, arguments.seconds)
    seconds = time.perf_counter() - begun[0], time.process_time() - begun[1]
    for part in PARTS:
        np.save(arguments.out / f"{part}.npy", fitted.lists(part))
    facts = {
        "fit_seconds": round(seconds[0], 1),
        "fit_processor_seconds": round(seconds[1], 1),
        "settings": fitted.settings,
        "version": version,
    }
    (arguments.out / "facts.json").write_text(json.dumps(facts))
