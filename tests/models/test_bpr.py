import numpy as np
import pytest

from models.bpr import BPRConfig, BPRRetriever
from models.catalogue import Catalogue
from models.errors import ConfigurationError
from models.interactions import InteractionLog
from models.item_factors import FoldIn
from models.retriever import history_matrix

Market = tuple[Catalogue, InteractionLog]


def fitted(market: Market, *, seed: int = 0) -> BPRRetriever:
    catalogue, log = market
    model = BPRRetriever(BPRConfig(embedding_size=4, epochs=100, learning_rate=0.1))
    model.fit(log, catalogue, seed=seed)
    return model


def test_items_of_the_users_parity_rank_above_the_others(checkerboard: Market) -> None:
    log = checkerboard[1]
    scores = fitted(checkerboard).score(log.histories(np.arange(20)))
    even = np.arange(20) % 2 == 0
    assert (scores[::2][:, even].min(axis=1) > scores[::2][:, ~even].max(axis=1)).all()
    assert (scores[1::2][:, ~even].min(axis=1) > scores[1::2][:, even].max(axis=1)).all()


def test_a_user_vector_solves_the_least_squares_problem(checkerboard: Market) -> None:
    model, histories = fitted(checkerboard), checkerboard[1].histories([2])
    items = model.item_vectors().astype(np.float64)
    weights = 10 * history_matrix(histories, 20, decay=2.0, length=200).toarray()[0].astype(np.float64)
    confidence = np.where(weights > 0, weights, 1)
    left = items.T @ (confidence[:, None] * items) + np.eye(5)
    expected = np.linalg.solve(left, items.T @ weights)
    np.testing.assert_allclose(model.user_vectors(histories)[0], expected, rtol=1e-3, atol=1e-5)


def test_the_seed_decides_the_factors(checkerboard: Market) -> None:
    one, same, other = (fitted(checkerboard, seed=seed).item_vectors() for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.01


def test_an_item_without_interactions_has_a_zero_vector(checkerboard: Market) -> None:
    catalogue, log = checkerboard
    model = fitted((catalogue, log.select(log.item_rows != 4)))
    assert not model.item_vectors()[4].any()
    assert model.item_vectors()[5].any()


def test_folding_in_empty_histories_gives_zeros(checkerboard: Market) -> None:
    empty = history_matrix(checkerboard[1].histories([0]), 20, decay=0, length=200) * 0
    empty.eliminate_zeros()
    vectors = FoldIn(np.ones((20, 3), dtype=np.float32), confidence=1.0, regularization=1.0).user_vectors(empty)
    np.testing.assert_array_equal(vectors, np.zeros((1, 3)))


@pytest.mark.parametrize("settings", [{"embedding_size": 0}, {"confidence": 0.0}])
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=f"bpr.{next(iter(settings))}"):
        BPRConfig(**settings)  # type: ignore[arg-type]
