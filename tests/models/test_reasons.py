import numpy as np
import pandas as pd

from models.catalogue import Catalogue
from models.co_occurrence import CoOccurrenceRetriever
from models.content import ContentRetriever
from models.interactions import InteractionLog
from models.popularity import PopularityRetriever
from models.reasons import nearest_history_items, reason_texts

VECTORS = np.array([[1, 0, 0], [0, 1, 0], [0.9, 0.1, 0], [0, 0, 1]], dtype=np.float32)
CATALOGUE = Catalogue.from_frame(
    pd.DataFrame({"item_id": list("abcd"), "title": ["Red\nlipstick", "Blue polish", "", "x" * 100]}), VECTORS
)


def log_of(items: str) -> InteractionLog:
    frame = pd.DataFrame({"user_id": "u", "item_id": list(items), "position": range(len(items)), "weight": 1.0})
    return InteractionLog.from_frame(frame.assign(event_at=pd.Timestamp("2026-01-01")), list("abcd"))


def test_the_nearest_history_item_is_found_by_vectors() -> None:
    content = ContentRetriever()
    content.fit(log_of("ab"), CATALOGUE)
    items = np.array([[2, 3, -1]], dtype=np.int32)
    assert nearest_history_items(content, log_of("ab").histories([0]), items).tolist() == [[0, -1, -1]]


def test_the_latest_history_item_wins_a_tie() -> None:
    neighbours = CoOccurrenceRetriever()
    neighbours.fit(log_of("abc"), CATALOGUE)
    items = np.array([[2]], dtype=np.int32)
    assert nearest_history_items(neighbours, log_of("ab").histories([0]), items).tolist() == [[1]]


def test_popularity_points_at_no_history_item() -> None:
    popular = PopularityRetriever()
    popular.fit(log_of("ab"), CATALOGUE)
    assert nearest_history_items(popular, log_of("a").histories([0]), np.array([[2]], dtype=np.int32)) == [[-1]]


def test_sentences_state_their_facts() -> None:
    sources = [
        "content",
        "co_occurrence",
        "ease",
        "sequence",
        "popularity",
        "popularity",
        "content",
        "content",
        "repeat",
    ]
    causes = np.array([0, 1, 2, 0, -1, -1, -1, 0, 1])
    segments = ["", "", "", "", "25-34", "", "", "", ""]
    assert reason_texts(sources, causes, segments, CATALOGUE, [False] * 7 + [True, False]) == [
        'similar to "Red lipstick" in your history',
        'often chosen together with "Blue polish" in your history',
        'liked by people who also chose "c" in your history',
        'a likely next step after "Red lipstick" in your history',
        "popular in 25-34",
        "popular now",
        "fits your recent history",
        'new, similar to "Red lipstick" in your history',
        "chosen before",
    ]


def test_a_long_title_is_cut() -> None:
    (reason,) = reason_texts(["content"], np.array([3]), [""], CATALOGUE, [False])
    assert len(reason) < 120
    assert "…" in reason
