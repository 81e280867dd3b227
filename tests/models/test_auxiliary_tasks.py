"""Tasks beside the next item, on pairs whose labels are known."""

import numpy as np
import pandas as pd
import pytest
import torch

from models.auxiliary_tasks import AuxiliaryTask, auxiliary_tasks
from models.catalogue import Catalogue
from models.encoder_config import FinetuningConfig
from models.engagement_pairs import EngagementPairs, engagement_pairs
from models.interactions import InteractionLog


def _pairs(categories: list[str], event_types: list[int] | None = None) -> EngagementPairs:
    """One user who chose item 0, then 1, then 2."""
    items = pd.DataFrame({"item_id": ["0", "1", "2"], "category": categories})
    frame = pd.DataFrame({"user_id": "u", "item_id": ["0", "1", "2"], "weight": 1.0})
    frame["event_at"] = pd.date_range("2026-01-01", periods=3)
    catalogue = Catalogue.from_frame(items)
    log = InteractionLog.from_frame(frame, catalogue.item_ids)
    codes = None if event_types is None else np.array(event_types)
    return engagement_pairs(log, catalogue, np.random.default_rng(0), window=1, event_types=codes)


def test_nothing_is_learned_beside_the_next_item_by_default() -> None:
    assert auxiliary_tasks(_pairs(["lips", "nails", "hair"]), FinetuningConfig(), 4, 0) == ([], {})


def test_category_of_the_later_item_is_the_label() -> None:
    (task,), _ = auxiliary_tasks(_pairs(["lips", "nails", "hair"]), FinetuningConfig(category_weight=0.5), 4, 0)
    assert task.labels.tolist() == [1, 0]  # nails, then hair, in the order of their names


def test_type_of_the_later_event_is_the_label() -> None:
    pairs = _pairs(["lips", "", ""], event_types=[5, 7, 5])
    (task,), _ = auxiliary_tasks(pairs, FinetuningConfig(event_type_weight=0.5), 4, 0)
    assert task.labels.tolist() == [1, 0]


def test_one_class_is_skipped_with_a_reason() -> None:
    tasks, skipped = auxiliary_tasks(_pairs(["lips", "nails", "hair"]), FinetuningConfig(event_type_weight=1), 4, 0)
    assert not tasks
    assert skipped == {"event_type": "the pairs have 1 event type, and two are needed"}


def test_pairs_without_a_category_have_no_label() -> None:
    pairs = _pairs(["lips", "nails", ""])
    tasks, skipped = auxiliary_tasks(pairs, FinetuningConfig(category_weight=1), 4, 0)
    assert not tasks
    assert "category" in skipped


def test_unlabelled_pairs_cost_nothing() -> None:
    task = AuxiliaryTask("category", 1.0, np.array([-1, 0]), torch.nn.Linear(4, 2))
    assert task.loss(torch.eye(4)[:1], np.array([0])).item() == 0.0


def test_the_head_learns_labels_that_the_vectors_tell() -> None:
    config = FinetuningConfig(category_weight=1.0)
    (task,), _ = auxiliary_tasks(_pairs(["lips", "nails", "hair"]), config, 4, 0)
    optimizer = torch.optim.Adam(task.head.parameters(), lr=0.1)
    for _ in range(50):
        optimizer.zero_grad()
        loss = task.loss(torch.eye(4)[:2], np.array([0, 1]))
        loss.backward()
        optimizer.step()
    assert loss.item() == pytest.approx(0.0, abs=0.05)
