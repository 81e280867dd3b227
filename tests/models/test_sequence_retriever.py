"""The sequence transformer as a retriever, on catalogues with a planted next item."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.errors import ConfigurationError, DataError, NotFittedError
from models.interactions import PADDING, FloatArray, Histories, InteractionLog, empty_histories
from models.retriever import VectorRetriever
from models.sequence_encoder import SequenceConfig
from models.sequence_retriever import SequenceRetriever

ITEMS = 20
FAST = SequenceConfig(
    embedding_size=16,
    blocks=1,
    heads=2,
    max_length=8,
    dropout=0.0,
    attention_dropout=0.0,
    learning_rate=0.01,
    epochs=30,
    patience=0,
    batch_tokens=512,
)


def make_catalogue(count: int = ITEMS, embeddings: FloatArray | None = None) -> Catalogue:
    frame = pd.DataFrame({"item_id": [f"i{row:02d}" for row in range(count)]})
    return Catalogue.from_frame(frame, embeddings)


def make_log(histories: list[list[int]], count: int = ITEMS) -> InteractionLog:
    lengths = [len(history) for history in histories]
    size = sum(lengths)
    return InteractionLog(
        user_ids=np.array([f"u{row}" for row in range(len(histories))], dtype=object),
        segments=np.full(len(histories), "", dtype=object),
        start=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        item_rows=np.array([item for history in histories for item in history], dtype=np.int32),
        event_ats=np.arange(size, dtype=np.int64),
        weights=np.ones(size, dtype=np.float32),
        item_count=count,
    )


def cycle_log(users: int = 120, count: int = ITEMS, length: int = 6) -> InteractionLog:
    """User u starts at item u and always moves on to the next item of the circle."""
    return make_log([[(user + step) % count for step in range(length)] for user in range(users)], count)


def histories_of(*rows: list[int]) -> Histories:
    width = max(len(row) for row in rows)
    items = np.array([[PADDING] * (width - len(row)) + row for row in rows], dtype=np.int32)
    return Histories(
        items, np.ones(items.shape, np.float32), np.zeros(items.shape, np.int64), np.full(len(rows), "", dtype=object)
    )


def unit(vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def random_texts(count: int = ITEMS) -> FloatArray:
    return unit(np.random.default_rng(7).normal(size=(count, 24)).astype(np.float32))


@pytest.fixture(scope="module")
def joint() -> SequenceRetriever:
    model = SequenceRetriever(FAST, device="cpu")
    model.fit(cycle_log(), make_catalogue(embeddings=random_texts()), seed=3)
    return model


@pytest.mark.parametrize(
    "change",
    [
        {"item_source": "id"},
        {"item_source": "text"},
        {"item_source": "joint", "norm": "pre"},
        {"loss": "sampled", "negatives": 64},
        {"loss": "sampled", "negatives": 64, "negative_sampling": "popularity"},
        {"logits": "dot", "averaging": 0.0},
        {"frequency_share": 0.0, "positions": "none"},
        {"frequency_share": 1.0, "text_hidden": 16, "id_dropout": 0.2, "label_smoothing": 0.05},
    ],
)
def test_learns_the_next_item_of_a_circle(change: dict[str, object]) -> None:
    model = SequenceRetriever(replace(FAST, **change), device="cpu")
    model.fit(cycle_log(), make_catalogue(embeddings=random_texts()), seed=0)
    asked = [[(item - 1) % ITEMS, item] for item in range(ITEMS)]
    scores = model.score(histories_of(*asked))
    hits = [scores[item].argmax() == (item + 1) % ITEMS for item in range(ITEMS)]
    assert np.mean(hits) > 0.9


def test_obeys_the_vector_protocol(joint: SequenceRetriever) -> None:
    asked = histories_of([1, 2, 3], [5])
    assert isinstance(joint, VectorRetriever)
    expected = joint.user_vectors(asked) @ joint.item_vectors().T
    # The product of BLAS is the one that is rounded on its way, which shows where terms cancel.
    np.testing.assert_allclose(joint.score(asked), expected, rtol=1e-5, atol=1e-5)


def test_batch_equals_single_bit_for_bit(joint: SequenceRetriever) -> None:
    rows = [[1], [2, 3], list(range(8)), [4, 5, 6, 7, 8], list(range(15))]
    together = joint.user_vectors(histories_of(*rows))
    alone = np.concatenate([joint.user_vectors(histories_of(row)) for row in rows])
    np.testing.assert_array_equal(together, alone)


def test_only_the_latest_items_count(joint: SequenceRetriever) -> None:
    long, short = [9, 9, 9, 11, *range(8)], list(range(8))
    np.testing.assert_array_equal(joint.user_vectors(histories_of(long)), joint.user_vectors(histories_of(short)))


def test_a_run_of_one_item_is_one_step(joint: SequenceRetriever) -> None:
    np.testing.assert_array_equal(
        joint.user_vectors(histories_of([1, 2, 2, 2, 3])), joint.user_vectors(histories_of([1, 2, 3]))
    )


def test_a_user_without_history_gets_zero(joint: SequenceRetriever) -> None:
    vectors = joint.user_vectors(empty_histories(np.array(["", ""], dtype=object)))
    assert vectors.shape == (2, 16)
    assert not vectors.any()


def test_inputs_stay_unchanged(joint: SequenceRetriever) -> None:
    asked = histories_of([1, 2], [3])
    before = asked.items.copy()
    joint.score(asked)
    np.testing.assert_array_equal(asked.items, before)


def test_a_new_item_is_found_by_its_text() -> None:
    # Even items lead to even ones and odd to odd; the first text channel says which, so a new item's text does too.
    texts = np.random.default_rng(1).normal(scale=0.3, size=(41, 8)).astype(np.float32)
    texts[:, 0] = np.where(np.arange(41) % 2 == 0, 1.0, -1.0)
    rng = np.random.default_rng(2)
    log = make_log([list(2 * rng.permutation(20)[:6] + user % 2) for user in range(300)], 40)
    model = SequenceRetriever(replace(FAST, id_dropout=0.5, epochs=15), device="cpu")
    model.fit(log, make_catalogue(40, unit(texts[:40])), seed=0)
    model.refresh(make_catalogue(41, unit(texts)))
    scores = model.score(histories_of([0, 4, 8], [1, 5, 9]))
    assert scores.shape == (2, 41)
    assert scores[0, 40] > scores[0, 1:40:2].max()
    assert scores[1, 40] < scores[1, 1:40:2].min()


def test_items_outside_the_training_log_are_not_pushed_down() -> None:
    log = make_log([[user % 10, (user + 1) % 10, (user + 2) % 10] for user in range(30)])
    model = SequenceRetriever(replace(FAST, item_source="id", epochs=2), device="cpu")
    model.fit(log, make_catalogue(), seed=0)
    assert model.item_vectors()[:10].any(axis=1).all()
    assert not model.item_vectors()[10:].any()
    # A history of such items says nothing, and is not read as if it did.
    assert not model.user_vectors(histories_of([15, 16])).any()


def test_refresh_moves_rows_with_their_ids(joint: SequenceRetriever, tmp_path: Path) -> None:
    joint.save(tmp_path)
    moved = SequenceRetriever.load(tmp_path)
    catalogue = make_catalogue(embeddings=random_texts())
    kept = np.array([0, 3, 4, 19])
    assert catalogue.embeddings is not None
    smaller = Catalogue.from_frame(pd.DataFrame({"item_id": catalogue.item_ids[kept]}), catalogue.embeddings[kept])
    moved.refresh(smaller)
    np.testing.assert_allclose(moved.item_vectors(), joint.item_vectors()[kept], atol=1e-6)


def test_save_and_load_change_nothing(joint: SequenceRetriever, tmp_path: Path) -> None:
    joint.save(tmp_path)
    loaded = SequenceRetriever.load(tmp_path)
    asked = histories_of([1, 2, 3], [7])
    np.testing.assert_array_equal(loaded.score(asked), joint.score(asked))
    assert loaded.best_epoch == joint.best_epoch == FAST.epochs
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]


def test_early_stopping_keeps_the_best_epoch() -> None:
    model = SequenceRetriever(replace(FAST, patience=2, validation_every=1, validation_users=40), device="cpu")
    model.fit(cycle_log(), make_catalogue(), seed=0)
    measured = {report.epoch: report.ndcg for report in model.reports}
    assert measured[model.best_epoch] == max(measured.values())  # type: ignore[type-var]
    assert len(model.reports) < FAST.epochs


def test_fixed_epochs_end_where_told() -> None:
    model = SequenceRetriever(replace(FAST, patience=2), device="cpu")
    model.fit(cycle_log(), make_catalogue(), seed=0, epochs=3)
    assert [report.epoch for report in model.reports] == [1, 2, 3]
    assert model.best_epoch == 3


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(DataError, match="no user has two interactions"):
        SequenceRetriever(FAST, device="cpu").fit(make_log([[1], [2, 2]]), make_catalogue(), seed=0)


def test_text_without_vectors_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="item_embeddings"):
        SequenceRetriever(replace(FAST, item_source="text"), device="cpu").fit(cycle_log(), make_catalogue(), seed=0)


def test_refresh_without_the_text_it_needs_is_an_error(joint: SequenceRetriever) -> None:
    with pytest.raises(DataError, match="24 dimensions and the catalogue has none"):
        joint.refresh(make_catalogue())


def test_use_before_fit_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="before it was fitted"):
        SequenceRetriever(FAST).item_vectors()
    with pytest.raises(NotFittedError, match="holds no sequence model"):
        SequenceRetriever.load(tmp_path)
