"""The two towers: what they learn beyond the texts, the AUC, and resuming."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from models.catalogue import Catalogue
from models.errors import ConfigurationError, DataError
from models.interactions import PADDING, FloatArray, Histories, InteractionLog
from models.top_rows import top_rows
from models.two_tower import TwoTowerRetriever
from models.two_tower_config import TwoTowerConfig

ITEMS = 12
FAST = TwoTowerConfig(
    embedding_size=12,
    hidden=32,
    dropout=0.0,
    negatives=4,
    steps=150,
    batch_size=64,
    learning_rate=0.01,
    held_out=40,
    evaluate_every=75,
    checkpoint_every=50,
    history_length=1,
)


def catalogue() -> Catalogue:
    """Items whose texts have nothing to do with each other."""
    frame = pd.DataFrame({"item_id": [f"i{row:02d}" for row in range(ITEMS)]})
    return Catalogue.from_frame(frame, np.eye(ITEMS, dtype=np.float32))


def circle(users: int = 120, length: int = 5) -> InteractionLog:
    """User u starts at item u and moves on by one: the next item is never the one whose text is closest."""
    rows = [[(user + step) % ITEMS for step in range(length)] for user in range(users)]
    return InteractionLog(
        user_ids=np.array([f"u{row:03d}" for row in range(users)], dtype=object),
        segments=np.full(users, "", dtype=object),
        start=np.arange(users + 1, dtype=np.int64) * length,
        item_rows=np.array(rows, dtype=np.int32).ravel(),
        event_ats=np.arange(users * length, dtype=np.int64),
        weights=np.ones(users * length, dtype=np.float32),
        item_count=ITEMS,
    )


def last_items(*items: int) -> Histories:
    rows = np.array(items, dtype=np.int32)[:, None]
    shape = rows.shape
    return Histories(rows, np.ones(shape, np.float32), np.zeros(shape, np.int64), np.full(len(rows), "", dtype=object))


@pytest.fixture(scope="module")
def fitted() -> TwoTowerRetriever:
    model = TwoTowerRetriever(FAST, device="cpu")
    model.fit(circle(), catalogue(), seed=3)
    return model


def test_the_next_item_of_the_circle_comes_first(fitted: TwoTowerRetriever) -> None:
    scores = fitted.score(last_items(*range(ITEMS))).copy()
    np.fill_diagonal(scores, -np.inf)  # a user's own items are never negatives, and are left out of lists
    best = top_rows(scores, 1)[:, 0]
    np.testing.assert_array_equal(best, (np.arange(ITEMS) + 1) % ITEMS)


def test_the_auc_says_how_well_engaged_items_are_told_apart(fitted: TwoTowerRetriever) -> None:
    assert fitted.auc == pytest.approx(1.0, abs=0.03)
    rng = np.random.default_rng(5)
    rows = np.concatenate([rng.permutation(ITEMS)[:5] for _ in range(120)]).astype(np.int32)
    chance = TwoTowerRetriever(replace(FAST, steps=2), device="cpu")
    chance.fit(replace(circle(), item_rows=rows), catalogue(), seed=3)
    assert chance.auc == pytest.approx(0.5, abs=0.2)


def test_before_training_the_score_is_the_cosine_of_the_texts() -> None:
    vectors = np.random.default_rng(0).normal(size=(ITEMS, 6)).astype(np.float32)
    vectors = np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)
    market = replace(catalogue(), embeddings=vectors)
    model = TwoTowerRetriever(replace(FAST, steps=1, learning_rate=1e-9), device="cpu")
    model.fit(circle(), market, seed=3)
    np.testing.assert_allclose(model.score(last_items(*range(ITEMS))), 8.0 * vectors @ vectors.T, atol=1e-4)


def test_an_item_without_text_has_a_zero_vector() -> None:
    vectors = np.eye(ITEMS, dtype=np.float32)
    vectors[5] = 0
    model = TwoTowerRetriever(replace(FAST, steps=2), device="cpu")
    model.fit(circle(), replace(catalogue(), embeddings=vectors), seed=3)
    assert not model.item_vectors()[5].any()
    assert not model.user_vectors(last_items(5)).any()
    assert not model.user_vectors(last_items(PADDING)).any()


def test_text_of_a_history_is_that_of_the_content_retriever() -> None:
    model = TwoTowerRetriever(replace(FAST, history_length=4), device="cpu")
    model.fit(circle(), catalogue(), seed=3)
    from models.two_tower_training import _Task

    text: FloatArray = model._text.item_vectors()
    task = _Task(circle(), text, model.config, 3, model._device)
    rows = np.array([4, 9, 13], dtype=np.int64)  # the last, the last and the fourth interaction of three users
    log = circle()
    before = [log.item_rows[5 * (row // 5) : row] for row in rows]
    width = max(len(items) for items in before)
    items = np.array([[PADDING] * (width - len(row)) + row.tolist() for row in before], dtype=np.int32)
    histories = Histories(
        items, (items >= 0).astype(np.float32), np.zeros(items.shape, np.int64), np.full(3, "", dtype=object)
    )
    np.testing.assert_allclose(task._user_text(rows).numpy(), model._text.user_vectors(histories), atol=1e-6)


def test_what_cannot_be_learned_from_is_named() -> None:
    model = TwoTowerRetriever(FAST, device="cpu")
    with pytest.raises(DataError, match="no user has two items"):
        model.fit(circle(length=1), catalogue(), seed=0)
    with pytest.raises(ConfigurationError, match=r"two_tower\.hidden"):
        TwoTowerConfig(hidden=0)


_KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_two_tower import FAST, catalogue, circle
from models.two_tower import TwoTowerRetriever

def die(point):
    if point.step == 75:
        os.kill(os.getpid(), signal.SIGKILL)

model = TwoTowerRetriever(FAST, checkpoint_folder=Path(sys.argv[1]), on_point=die, device="cpu")
model.fit(circle(), catalogue(), seed=3)
"""


def test_resume_after_kill_gives_the_same_bits(fitted: TwoTowerRetriever, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", _KILLED, str(tmp_path), str(Path(__file__).parent)]
    ended = subprocess.run(command, env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    resumed = TwoTowerRetriever(FAST, checkpoint_folder=tmp_path, device="cpu")
    resumed.fit(circle(), catalogue(), seed=3)
    assert resumed.report is not None
    assert resumed.report.resumed_from == 50
    assert torch.equal(torch.from_numpy(resumed.item_vectors()), torch.from_numpy(fitted.item_vectors()))
