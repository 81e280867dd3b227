from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.content import ContentConfig, ContentRetriever
from models.errors import DataError
from models.interactions import Histories, InteractionLog
from models.splitting import Holdout, Targets

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


def test_the_profile_mixes_what_is_recent_with_what_has_always_been() -> None:
    text = np.array([[1, 0], [0, 1]], dtype=np.float32)
    items = Catalogue.from_frame(pd.DataFrame({"item_id": ["a", "b"]}), text)
    history = Histories(
        np.array([[0, 0, 0, 1]], np.int32),
        np.ones((1, 4), np.float32),
        np.zeros((1, 4), np.int64),
        np.array([""], object),
    )
    config = ContentConfig(recency_decay=0.01, short_share=0.25, is_centred=False)
    content = ContentRetriever(config)
    content.fit(log_of("a"), items)
    long = np.array([3, 1]) / np.sqrt(10)
    wanted = 0.25 * np.array([0, 1]) + 0.75 * long
    np.testing.assert_allclose(content.user_vectors(history)[0], wanted / np.linalg.norm(wanted), rtol=1e-5)


@pytest.mark.parametrize(("wanted", "share"), [(2, 1.0), (1, 0.25)])
def test_the_share_is_chosen_on_validation_and_kept(wanted: int, share: float, tmp_path: Path) -> None:
    # a and b are of one kind, c and d of the other; users read a three times, then d. A quarter is the largest share
    # with which b comes before c.
    text = np.repeat(np.eye(2, dtype=np.float32), 2, axis=0)
    ids = list("abcd")
    items = Catalogue.from_frame(pd.DataFrame({"item_id": ids}), text)
    events = pd.DataFrame([(f"u{user}", item, day) for user in range(5) for day, item in enumerate("aaad")])
    events.columns = pd.Index(["user_id", "item_id", "day"])
    events["event_at"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(events["day"], unit="D")
    log = InteractionLog.from_frame(events.assign(weight=1.0), ids)
    holdout = Holdout(log, np.arange(5, dtype=np.int32), Targets(np.arange(6), np.full(5, wanted, np.int32)))
    content = ContentRetriever(ContentConfig(is_share_chosen=True, is_centred=False, recency_decay=0.5))
    content.fit(log, items, validation=holdout)
    assert content.short_share == share
    content.save(tmp_path)
    loaded = ContentRetriever.load(tmp_path)
    everyone = log.histories(np.arange(5))
    np.testing.assert_array_equal(loaded.user_vectors(everyone), content.user_vectors(everyone))
