"""What each model costs: seconds and memory of its training, numbers it stores, milliseconds for a list."""

import json
import statistics
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import psutil

from models.holdout_ranking import rank_alone, rank_holdout
from models.recommender import Recommender
from models.reranking import RerankRules
from models.retriever import Retriever
from models.splitting import Holdout

TOP_K = 20
BATCH_USERS = 1024
SINGLE_USERS = 20
SAMPLE_EVERY_S = 0.02
FLOATS = {"F16", "BF16", "F32", "F64"}


class Storable(Protocol):
    """A model that can be written to a folder."""

    def save(self, folder: Path) -> None:
        """Write everything needed to use it."""
        ...


@dataclass(frozen=True)
class ModelCost:
    """Costs of one model."""

    fit_seconds: float | None
    """None where it was not timed on its own."""
    fit_memory_gib: float | None
    """How far the resident size of the process rose above its level at the start of the training."""
    parameters: int
    """Floats that the model stores: weights, and vectors or similarities that it keeps for ranking."""
    batch_ms: float
    """Milliseconds a user for a batch of up to 1,024 users: the best 20 of the whole catalogue."""
    single_ms: float
    """Milliseconds for one user alone, median of 20."""


class FitMemory:
    """Samples the resident size of this process while it is open; stages that end one after another get their share.

    What an allocator keeps of earlier stages is not counted again, so a later stage may show less than it needs alone.
    """

    def __init__(self) -> None:
        self.growth_gib: dict[str, float] = {}
        self._process = psutil.Process()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._base = self._peak = 0

    def __enter__(self) -> "FitMemory":
        self._begin()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def end_stage(self, name: str) -> None:
        """Note the growth since the stage before ended under `name`, and begin the next."""
        self._peak = max(self._peak, self._process.memory_info().rss)
        self.growth_gib[name] = round((self._peak - self._base) / 2**30, 3)
        self._begin()

    def _begin(self) -> None:
        self._base = self._peak = self._process.memory_info().rss

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_EVERY_S):
            self._peak = max(self._peak, self._process.memory_info().rss)


def stored_floats(model: Storable) -> int:
    """Number of floats in the files that the model saves."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        return sum(_floats_of(file) for file in Path(folder).rglob("*") if file.is_file())


def list_latency(rank: Callable[[Holdout], object], holdout: Holdout) -> tuple[float, float]:
    """Milliseconds a user in a batch, and for a user alone (median).

    Args:
        rank: Makes the lists of all users of a holdout.
        holdout: Whose first users are ranked for; one with users.
    """
    few = holdout.select(np.arange(min(8, holdout.count)))
    rank(few)  # the first call pays for lazy set-up
    batch = holdout.select(np.arange(min(BATCH_USERS, holdout.count)))
    per_user = _milliseconds(rank, batch) / batch.count
    singles = [
        _milliseconds(rank, holdout.select(np.array([user]))) for user in range(min(SINGLE_USERS, holdout.count))
    ]
    return per_user, statistics.median(singles)


def cost_of(
    model: Storable,
    rank: Callable[[Holdout], object],
    holdout: Holdout,
    *,
    seconds: float | None,
    memory_gib: float | None,
) -> ModelCost:
    """All costs of a fitted model."""
    batch_ms, single_ms = list_latency(rank, holdout)
    rounded = None if seconds is None else round(seconds, 2)
    return ModelCost(rounded, memory_gib, stored_floats(model), round(batch_ms, 3), round(single_ms, 2))


def _milliseconds(rank: Callable[[Holdout], object], holdout: Holdout) -> float:
    begun = time.perf_counter()
    rank(holdout)
    return (time.perf_counter() - begun) * 1000


def _floats_of(file: Path) -> int:
    if file.suffix == ".safetensors":
        with file.open("rb") as stream:
            header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
        tensors = (entry for name, entry in header.items() if name != "__metadata__")
        return sum(int(np.prod(entry["shape"])) for entry in tensors if entry["dtype"] in FLOATS)
    if file.suffix == ".npy":
        return _count(np.load(file, mmap_mode="r", allow_pickle=False))
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as arrays:
            return sum(_count(arrays[name]) for name in arrays.files)
    return 0


def _count(array: np.ndarray) -> int:
    return array.size if array.dtype.kind == "f" else 0


def costs_of(
    recommender: Recommender,
    growth_gib: Mapping[str, float],
    holdout: Holdout,
    rules: RerankRules,
    *,
    content_row: str = "content_finetuned",
) -> dict[str, ModelCost]:
    """Costs of the fused lists and of each retriever alone, by the names of the results.

    The fusion's seconds are those of all that it is made of; its memory is the largest of theirs.
    """
    if not holdout.count:
        return {}
    catalogue, seconds = recommender.catalogue, recommender.seconds

    def fused(part: Holdout) -> object:
        return rank_holdout(recommender, part, rules, top_k=TOP_K)

    def alone(retriever: Retriever) -> Callable[[Holdout], object]:
        return lambda part: rank_alone(retriever, part, catalogue, top_k=TOP_K, exclude_seen=rules.exclude_seen)

    costs = {
        "fusion": cost_of(
            recommender,
            fused,
            holdout,
            seconds=sum(seconds.values()),
            memory_gib=max(growth_gib.values(), default=None),
        )
    }
    for name, retriever in recommender.retrievers.items():
        costs[content_row if name == "content" else name] = cost_of(
            retriever, alone(retriever), holdout, seconds=seconds.get(name), memory_gib=growth_gib.get(name)
        )
    return costs
