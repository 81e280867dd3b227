import importlib
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.recommender_config import RecommenderConfig

if TYPE_CHECKING:
    from landed_data import LandedData


@pytest.fixture
def accuracy() -> ModuleType:
    return importlib.import_module("accuracy")


def options(**changes: object) -> SimpleNamespace:
    values = {
        "raw": False,
        "protocol": "leave-one-out",
        "tie_order": "p5_position",
        "refit": False,
        "also": ["co_occurrence"],
        "unmasked": True,
        "name": None,
        "bootstrap": 20,
    }
    return SimpleNamespace(**{**values, **changes})


def test_an_untrained_encoder_has_a_row_of_its_own(accuracy: ModuleType, data: "LandedData") -> None:
    vectors = np.repeat(np.eye(4, dtype=np.float32), 8, axis=0)
    config = RecommenderConfig(retrievers=("popularity", "content"))
    arguments = options(raw=True, also=[], unmasked=False)
    run = accuracy.run(1, data, data.split("leave-one-out"), config, accuracy.Stages(vectors), arguments)
    assert set(run.test) == {"fusion", "popularity", "content_raw"}
    assert set(run.costs) == set(run.test)


def test_planted_blocks_are_found_by_text_and_by_fusion(
    accuracy: ModuleType, data: "LandedData", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = data.split("leave-one-out")
    good = np.repeat(np.eye(4, dtype=np.float32), 8, axis=0)
    bad = np.roll(np.eye(32, dtype=np.float32), 5, axis=0)
    stages = accuracy.Stages(raw=bad, finetuned=good, pretrained=good)
    config = RecommenderConfig(retrievers=("popularity", "content"))
    runs = [accuracy.run(seed, data, split, config, stages, options()) for seed in (1, 2)]
    test = {name: accuracy.averaged([one.test[name] for one in runs if name in one.test]) for name in runs[0].test}
    assert set(test) == {
        "fusion",
        "popularity",
        "content_finetuned",
        "content_pretrained",
        "content_raw",
        "co_occurrence",
    }
    assert "co_occurrence" not in runs[0].weights
    assert "co_occurrence" not in runs[1].test
    assert test["content_finetuned"].metrics["recall@5"].value == 1.0  # three items of the block are unseen
    assert test["content_pretrained"].metrics["recall@5"].value == 1.0
    assert test["fusion"].metrics["recall@5"].value == 1.0
    assert test["content_raw"].metrics["recall@5"].value < 0.5
    assert runs[0].unmasked["content_finetuned"].metrics["recall@5"].value < 1.0
    monkeypatch.setattr(accuracy, "RESULTS", tmp_path)
    path = accuracy.write(options(), data, accuracy.summary(options(), data, split, runs, test), begun=0.0)
    assert path.name == "amazon-reviews.leave-one-out.p5_position.json"
    stored = json.loads(path.read_text())
    assert stored["models"]["fusion"]["recall@10"] == 1.0
    assert stored["counts"]["test_users"] == 40
    assert set(stored["fusion_against"]) == set(test) - {"fusion"}
    assert stored["fusion_against"]["content_raw"]["low"] > 0
    assert stored["seeds"] == [1, 2]
