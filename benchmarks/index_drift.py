"""Recall@200 of the inverted lists of the item index over the share of items added, or withdrawn, since it was built.

Items are drawn: unit vectors around topics. Those added are of the topics that the lists were clustered on, or of as
many others; those withdrawn are masked, as in service, and go at random or topic by topic. Queries are items that may
be shown. Beside each recall stands that of an index which is built anew over the items that may be shown.

    python benchmarks/index_drift.py
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from run_facts import write_results

from models.interactions import BoolArray, FloatArray, LongArray
from models.vector_index import IndexConfig, ItemIndex

RESULTS = Path(__file__).parent / "results" / "index" / "drift.json"
SHARES = (0.0, 0.1, 0.3, 0.5, 0.8)
"""Of the items that the index was built with."""
CHANGES = ("added to known topics", "added to new topics", "withdrawn at random", "withdrawn by topic")
K = 200
QUERIES = 512
NAME = "drawn"
INVERTED = IndexConfig(exact_below=1)
"""Inverted lists whatever the size, as catalogues from 50,000 items on have them."""


def main() -> None:
    """Measure every change, print the rows and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=30_000)
    parser.add_argument("--topics", type=int, default=100)
    parser.add_argument("--dimension", type=int, default=64)
    parser.add_argument("--spread", type=float, default=0.8, help="length of an item's own part, beside its topic of 1")
    arguments, begun = parser.parse_args(), time.perf_counter()
    rows = [row for change in CHANGES for row in drift(change, **vars(arguments), config=INVERTED)]
    write_results(RESULTS, {**vars(arguments), "k": K, "queries": QUERIES, "rows": rows}, begun=begun)


def drift(
    change: str, *, items: int, topics: int, dimension: int, spread: float, config: IndexConfig
) -> list[dict[str, Any]]:
    """One row for each share of `SHARES`; the changes follow one another on one index."""
    rng = np.random.default_rng(5)
    topic = rng.integers(topics, size=2 * items) + np.where(np.arange(2 * items) < items, 0, topics * ("new" in change))
    vectors = drawn(rng, topic, dimension, spread)
    leaving = rng.permutation(items) if "random" in change else np.argsort(topic[:items], kind="stable")
    index = ItemIndex.build({NAME: vectors[:items]}, _ids(0, items), config=config, seed=0)
    rows, labels = [], items
    for share in SHARES:
        changed = int(share * items)
        if change.startswith("added"):
            index.add(_ids(labels, items + changed), {NAME: vectors[labels : items + changed]})
            labels = items + changed
        allowed = np.ones(labels, dtype=bool)
        if change.startswith("withdrawn"):
            allowed[leaving[:changed]] = False
        rows.append({"change": change, "share": share, **measured(index, vectors[:labels], allowed, config)})
        print(rows[-1], flush=True)
    return rows


def drawn(rng: np.random.Generator, topic: LongArray, dimension: int, spread: float) -> FloatArray:
    """A unit vector for each item: that of its topic and `spread` times one of its own; shape (items, dimension).

    Later dimensions count less, as in vectors of texts.
    """
    scale = np.arange(1, dimension + 1, dtype=np.float32) ** -0.5
    centres = _unit(scale * rng.standard_normal((int(topic.max()) + 1, dimension), dtype=np.float32))
    own = _unit(scale * rng.standard_normal((len(topic), dimension), dtype=np.float32))
    return _unit(centres[topic] + np.float32(spread) * own)


def measured(index: ItemIndex, vectors: FloatArray, allowed: BoolArray, config: IndexConfig) -> dict[str, float]:
    """Recall and seconds of one search, of the index as it is and of one that is built anew."""
    shown = np.flatnonzero(allowed).astype(np.int64)
    queries = vectors[shown[:: max(len(shown) // QUERIES, 1)][:QUERIES]]
    scores = np.where(allowed, queries @ vectors.T, -np.inf)
    exact = np.argpartition(-scores, K, axis=1)[:, :K].astype(np.int64)
    begun = time.perf_counter()
    found = index.search(NAME, queries, K, allowed=None if allowed.all() else allowed)
    searched = time.perf_counter()
    anew = ItemIndex.build({NAME: vectors[shown]}, _ids(0, len(shown)), config=config, seed=0)
    built = time.perf_counter()
    found_anew = shown[anew.search(NAME, queries, K)]
    return {
        "recall": recall(found, exact),
        "recall_anew": recall(found_anew, exact),
        "search_s": round(searched - begun, 3),
        "search_anew_s": round(time.perf_counter() - built, 3),
        "build_anew_s": round(built - searched, 1),
    }


def recall(found: LongArray, exact: LongArray) -> float:
    """Share of the exact rows that were found, on average over the queries."""
    shared = sum(len(np.intersect1d(one, other)) for one, other in zip(found, exact, strict=True))
    return round(shared / exact.size, 4)


def _ids(begin: int, end: int) -> list[str]:
    return [f"i{number:07d}" for number in range(begin, end)]


def _unit(vectors: FloatArray) -> FloatArray:
    unit: FloatArray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


if __name__ == "__main__":
    main()
