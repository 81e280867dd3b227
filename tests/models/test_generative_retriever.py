"""Generative recall on a circle of items: what comes next is known."""

import itertools
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
from models.generative_config import GenerativeConfig
from models.generative_retriever import GenerativeRetriever
from models.generative_tokens import BEGIN, PAD, TokenSpace, packed_histories, token_rows, training_windows
from models.interactions import PADDING, Histories, InteractionLog
from models.semantic_ids import NO_ID

ITEMS = 20
FAST = GenerativeConfig(
    levels=2,
    codes=4,
    embedding_size=32,
    layers=1,
    heads=2,
    dropout=0.0,
    history_items=6,
    steps=800,
    batch_size=32,
    learning_rate=0.01,
    held_out=0,
    evaluate_every=400,
    checkpoint_every=150,
    beams=8,
)


def circle(users: int = 120, length: int = 6) -> InteractionLog:
    """User u starts at item u and always moves on to the next item of the circle."""
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


def catalogue(count: int = ITEMS) -> Catalogue:
    vectors = np.random.default_rng(7).normal(size=(count, 8)).astype(np.float32)
    return Catalogue.from_frame(pd.DataFrame({"item_id": [f"i{row:02d}" for row in range(count)]}), vectors)


def histories(*rows: list[int]) -> Histories:
    width = max(len(row) for row in rows)
    items = np.array([[PADDING] * (width - len(row)) + row for row in rows], dtype=np.int32)
    return Histories(
        items, np.ones(items.shape, np.float32), np.zeros(items.shape, np.int64), np.full(len(rows), "", dtype=object)
    )


@pytest.fixture(scope="module")
def fitted() -> GenerativeRetriever:
    retriever = GenerativeRetriever(FAST, device="cpu")
    retriever.fit(circle(), catalogue(), seed=3)
    return retriever


def test_the_next_item_of_the_circle_comes_first(fitted: GenerativeRetriever) -> None:
    found, logs = fitted.generate(histories([3, 4, 5], [10, 11], [18, 19]))
    assert found[:, 0].tolist() == [6, 12, 0]
    assert (np.exp(logs[:, 0]) > 0.8).all()


def test_only_existing_items_come_out_each_once_best_first(fitted: GenerativeRetriever) -> None:
    found, logs = fitted.generate(histories(*[[start, (start + 1) % ITEMS] for start in range(ITEMS)]))
    assert ((found >= 0) & (found < ITEMS)).all()
    assert all(len(set(row)) == FAST.beams for row in found.tolist())
    assert (np.diff(logs, axis=1) <= 0).all()


def test_logs_are_those_of_the_decoder(fitted: GenerativeRetriever) -> None:
    history = np.array([3, 4, 5], dtype=np.int32)
    found, logs = fitted.generate(histories(history.tolist()))
    tokens = fitted._item_tokens
    for item, log in zip(found[0], logs[0], strict=True):
        ids = torch.from_numpy(np.concatenate([[BEGIN], tokens[history].ravel(), tokens[item]]))
        with torch.no_grad():
            steps = torch.log_softmax(fitted._decoder(input_ids=ids[None]).logits[0].float(), dim=-1)
        places = torch.arange(len(ids) - 4, len(ids) - 1)
        assert steps[places, ids[-3:]].sum().item() == pytest.approx(log, abs=1e-4)


def test_a_wide_search_finds_every_item_and_the_same_best(fitted: GenerativeRetriever, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    wide = GenerativeRetriever.load(tmp_path)
    wide.config = replace(FAST, beams=ITEMS)
    found, _ = wide.generate(histories([3, 4, 5]))
    assert sorted(found[0].tolist()) == list(range(ITEMS))
    assert found[0, 0] == fitted.generate(histories([3, 4, 5]))[0][0, 0]


def test_a_user_alone_gets_the_bits_of_the_batch(fitted: GenerativeRetriever) -> None:
    rows = [[start, (start + 1) % ITEMS, (start + 2) % ITEMS][: 1 + start % 3] for start in range(ITEMS)]
    together = fitted.score(histories(*rows))
    for user in (0, 7, 19):
        np.testing.assert_array_equal(fitted.score(histories(rows[user]))[0], together[user])


def test_scores_follow_the_logs_and_are_zero_elsewhere(fitted: GenerativeRetriever) -> None:
    own = histories([3, 4])
    found, logs = fitted.generate(own)
    scores = fitted.score(own)[0]
    np.testing.assert_allclose(scores[found[0]], 1 / (1 - logs[0]), rtol=1e-6)
    assert (np.delete(scores, found[0]) == 0).all()


def test_a_new_item_can_be_generated(fitted: GenerativeRetriever, tmp_path: Path) -> None:
    """It shares the codes of its twin; the number that sets it apart was never trained, so it comes behind."""
    fitted.save(tmp_path)
    own = GenerativeRetriever.load(tmp_path)
    own.config = replace(own.config, beams=ITEMS + 1)
    more = catalogue(ITEMS)
    assert more.embeddings is not None
    frame = pd.DataFrame({"item_id": [*more.item_ids, "new"]})
    own.refresh(Catalogue.from_frame(frame, np.vstack([more.embeddings, more.embeddings[6]])))
    found, _ = own.generate(histories([3, 4, 5]))
    assert found[0, 0] == 6
    assert ITEMS in found[0]


def test_a_removed_item_never_comes_out(fitted: GenerativeRetriever, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    own = GenerativeRetriever.load(tmp_path)
    whole = catalogue()
    assert whole.embeddings is not None
    kept = np.delete(np.arange(ITEMS), 6)
    own.refresh(Catalogue.from_frame(pd.DataFrame({"item_id": whole.item_ids[kept]}), whole.embeddings[kept]))
    assert own.score(histories([3, 4, 5])).shape == (1, ITEMS - 1)
    found, _ = own.generate(histories([3, 4, 5]))
    assert whole.item_ids[6] not in set(whole.item_ids[kept][found[0][found[0] >= 0]])


def test_histories_as_tokens_by_hand() -> None:
    space = TokenSpace(levels=2, codes=4, numbers=8)
    tokens = space.encode(np.array([[0, 3, 1], [NO_ID] * 3, [2, 2, 0]], dtype=np.int32))
    np.testing.assert_array_equal(tokens, [[2, 9, 11], [PAD] * 3, [4, 8, 10]])
    packed = packed_histories(np.array([[PADDING, 0, 0, 1, 2], [PADDING] * 5]), np.array([True, False, True]), 5)
    assert [row.tolist() for row in packed] == [[0, 2], []]
    np.testing.assert_array_equal(token_rows(packed[:1], tokens), [[BEGIN, 2, 9, 11, 4, 8, 10]])
    assert space.size == 2 + 2 * 4 + 8


def test_long_histories_are_cut_from_the_end() -> None:
    windows = training_windows(circle(users=1, length=6), np.ones(ITEMS, dtype=bool), 4)
    assert [window.tolist() for window in windows] == [[2, 3, 4, 5], [0, 1]]


def test_what_cannot_be_learned_from_is_named() -> None:
    retriever = GenerativeRetriever(FAST, device="cpu")
    with pytest.raises(DataError, match="no embeddings"):
        retriever.fit(circle(), replace(catalogue(), embeddings=None), seed=0)
    with pytest.raises(DataError, match="no next item"):
        retriever.fit(circle(length=1), catalogue(), seed=0)
    with pytest.raises(ConfigurationError, match="must divide"):
        GenerativeConfig(embedding_size=10, heads=4)


_KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_generative_retriever import FAST, catalogue, circle
from models.generative_retriever import GenerativeRetriever

def die(point):
    if point.step == 400:
        os.kill(os.getpid(), signal.SIGKILL)

retriever = GenerativeRetriever(FAST, checkpoint_folder=Path(sys.argv[1]), on_point=die, device="cpu")
retriever.fit(circle(), catalogue(), seed=3)
"""


def test_resume_after_kill_gives_the_same_bits(fitted: GenerativeRetriever, tmp_path: Path) -> None:
    folder = str(Path(__file__).parent)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path), folder], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    resumed = GenerativeRetriever(FAST, checkpoint_folder=tmp_path, device="cpu")
    resumed.fit(circle(), catalogue(), seed=3)
    assert resumed.report is not None
    assert resumed.report.resumed_from == 300
    for one, other in itertools.zip_longest(resumed._decoder.parameters(), fitted._decoder.parameters()):
        assert torch.equal(one, other)
