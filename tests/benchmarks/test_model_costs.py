import importlib
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from models.catalogue import Catalogue
from models.interactions import InteractionLog
from models.recommender import Recommender
from models.recommender_config import RecommenderConfig
from models.reranking import RerankRules
from models.splitting import Holdout, leave_one_out


@pytest.fixture
def costs() -> ModuleType:
    return importlib.import_module("model_costs")


class Stored:
    """30 floats in three kinds of files, beside integers that do not count."""

    def save(self, folder: Path) -> None:
        (folder / "part").mkdir()
        save_file({"a": np.zeros((4, 5), np.float32), "ids": np.zeros(99, np.int64)}, folder / "part/model.safetensors")
        np.save(folder / "b.npy", np.zeros(7))
        np.savez(folder / "c.npz", data=np.zeros(3, np.float32), indices=np.zeros(3, np.int32))
        (folder / "facts.json").write_text("{}")


def holdout() -> Holdout:
    rows = [
        (f"u{user:02d}", f"i{(user + day) % 6}", pd.Timestamp(day, unit="D"), 1.0)
        for user in range(30)
        for day in range(5)
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "event_at", "weight"])
    return leave_one_out(InteractionLog.from_frame(frame, [f"i{row}" for row in range(6)])).test


def test_only_floats_are_counted(costs: ModuleType) -> None:
    assert costs.stored_floats(Stored()) == 30


def test_memory_of_a_stage_is_what_it_takes_above_its_start(costs: ModuleType) -> None:
    with costs.FitMemory() as memory:
        memory.end_stage("before")
        block = np.ones(64 * 2**20 // 8)  # 64 MiB, written
        time.sleep(0.1)
        memory.end_stage("large")
        del block
        memory.end_stage("after")
    assert memory.growth_gib["large"] == pytest.approx(64 / 1024, abs=0.02)
    assert memory.growth_gib["after"] < 0.02


def test_latency_is_told_for_a_batch_and_for_one_user(costs: ModuleType) -> None:
    asked: list[int] = []

    def rank(part: Holdout) -> None:
        asked.append(part.count)
        time.sleep(0.010 + 0.002 * part.count)

    batch_ms, single_ms = costs.list_latency(rank, holdout())
    assert asked == [8, 30, *[1] * 20]
    assert batch_ms == pytest.approx(2 + 10 / 30, rel=0.5)
    assert single_ms == pytest.approx(12, rel=0.5)


def test_fusion_and_retrievers_have_their_costs(costs: ModuleType) -> None:
    part = holdout()
    log = part.history
    catalogue = Catalogue.from_frame(pd.DataFrame({"item_id": [f"i{row}" for row in range(6)]}))
    config = RecommenderConfig(retrievers=("popularity", "ease"))
    with costs.FitMemory() as memory:
        fitted = Recommender.fit(
            log, part, catalogue, config, seed=1, on_stage=lambda name, seconds: memory.end_stage(name)
        )
    found = costs.costs_of(fitted, memory.growth_gib, part, RerankRules())
    assert list(found) == ["fusion", "popularity", "ease"]
    assert found["ease"].fit_seconds == pytest.approx(fitted.seconds["ease"], abs=0.006)
    assert found["fusion"].fit_seconds == pytest.approx(sum(fitted.seconds.values()), abs=0.006)
    assert found["ease"].parameters > 0
    assert found["fusion"].parameters == found["ease"].parameters + found["popularity"].parameters
    assert set(memory.growth_gib) == {"popularity", "ease", "fusion"}
