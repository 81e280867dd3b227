import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.content import ContentConfig, ContentRetriever
from models.errors import DataError
from models.interactions import InteractionLog

IDS = ["a", "b", "c", "d"]
VECTORS = np.array([[1, 0], [0.8, 0.6], [0, 1], [0, 0]], dtype=np.float32)


def catalogue(vectors: np.ndarray | None = VECTORS) -> Catalogue:
    return Catalogue.from_frame(pd.DataFrame({"item_id": IDS}), vectors)


def log_of(items: str) -> InteractionLog:
    frame = pd.DataFrame({"user_id": "u", "item_id": list(items), "position": range(len(items)), "weight": 1.0})
    return InteractionLog.from_frame(frame.assign(event_at=pd.Timestamp("2026-01-01")), IDS)


def test_scores_are_cosines_with_the_recency_weighted_mean() -> None:
    model = ContentRetriever(ContentConfig(recency_decay=2.0))
    model.fit(log_of("ca"), catalogue())
    mean = VECTORS[0] + np.exp(-0.5) * VECTORS[2]
    expected = VECTORS @ (mean / np.linalg.norm(mean))
    np.testing.assert_allclose(model.score(log_of("ca").histories([0]))[0], expected, rtol=1e-5, atol=1e-6)


def test_an_item_without_text_scores_zero_for_everyone() -> None:
    model = ContentRetriever()
    model.fit(log_of("a"), catalogue())
    assert model.score(log_of("ab").histories([0]))[0, 3] == 0
    assert not model.score(log_of("d").histories([0])).any()


def test_vectors_that_crowd_are_centred() -> None:
    rng = np.random.default_rng(0)
    crowded = (np.array([5.0, 0.0]) + rng.standard_normal((30, 2))).astype(np.float32)
    frame = pd.DataFrame({"item_id": [f"{number:02d}" for number in range(30)]})
    model = ContentRetriever()
    model.fit(log_of("a"), Catalogue.from_frame(frame, crowded))
    cosines = model.item_vectors() @ model.item_vectors().T
    assert abs(cosines.mean()) < 0.1  # without centring all are close to 1


def test_missing_embeddings_say_what_to_do() -> None:
    with pytest.raises(DataError, match="materialise item_embeddings"):
        ContentRetriever().fit(log_of("a"), catalogue(None))


def test_an_encoder_of_another_dimension_is_refused() -> None:
    model = ContentRetriever()
    model.fit(log_of("a"), catalogue())
    with pytest.raises(DataError, match="3 dimensions"):
        model.refresh(catalogue(np.ones((4, 3), dtype=np.float32)))
