import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.errors import ConfigurationError
from models.interactions import InteractionLog, empty_histories
from models.popularity import PopularityConfig, PopularityRetriever

CATALOGUE = Catalogue.from_frame(pd.DataFrame({"item_id": ["a", "b", "c"]}))


def log_of(rows: list[tuple[str, str, str, float]], segments: dict[str, str] | None = None) -> InteractionLog:
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "event_at", "weight"])
    return InteractionLog.from_frame(
        frame.assign(event_at=pd.to_datetime(frame["event_at"])), ["a", "b", "c"], segments
    )


def test_an_interaction_counts_half_after_one_half_life() -> None:
    log = log_of([("u", "a", "2026-01-01", 1.0), ("u", "b", "2026-01-31", 1.0)])
    model = PopularityRetriever(PopularityConfig(half_life_days=30))
    model.fit(log, CATALOGUE)
    np.testing.assert_allclose(model.score(empty_histories(np.array([""], dtype=object))), [[0.5, 1.0, 0.0]])


def test_weights_add_up() -> None:
    log = log_of([("u", "a", "2026-01-01", 1.0), ("v", "a", "2026-01-01", 2.0), ("v", "c", "2026-01-01", 6.0)])
    model = PopularityRetriever()
    model.fit(log, CATALOGUE)
    np.testing.assert_allclose(model.score(empty_histories(np.array([""], dtype=object))), [[0.5, 0.0, 1.0]])


def test_a_segment_has_its_own_order_and_falls_back_to_everyone() -> None:
    rows = [("u", "a", "2026-01-01", 1.0), ("v", "b", "2026-01-01", 3.0), ("v", "c", "2026-01-01", 2.0)]
    model = PopularityRetriever(PopularityConfig(min_segment_interactions=1))
    model.fit(log_of(rows, {"u": "north"}), CATALOGUE)
    north, unknown = model.score(empty_histories(np.array(["north", "mars"], dtype=object)))
    assert list(np.argsort(-north)) == [0, 1, 2]  # its own item, then everyone's order
    assert list(np.argsort(-unknown)) == [1, 2, 0]


def test_a_small_segment_takes_everyones_popularity() -> None:
    rows = [("u", "a", "2026-01-01", 1.0), ("v", "b", "2026-01-01", 3.0)]
    model = PopularityRetriever(PopularityConfig(min_segment_interactions=2))
    model.fit(log_of(rows, {"u": "north"}), CATALOGUE)
    north, everyone = model.score(empty_histories(np.array(["north", ""], dtype=object)))
    np.testing.assert_array_equal(north, everyone)


def test_a_half_life_must_be_positive() -> None:
    with pytest.raises(ConfigurationError, match="half_life_days"):
        PopularityConfig(half_life_days=0)
