import numpy as np
import pytest
from threadpoolctl import threadpool_info

from models.als import ALSConfig, ALSRetriever
from models.catalogue import Catalogue
from models.errors import ConfigurationError
from models.interactions import InteractionLog
from models.item_factors import quiet_blas


def test_a_folded_in_user_solves_the_least_squares_problem(checkerboard: tuple[Catalogue, InteractionLog]) -> None:
    catalogue, log = checkerboard
    config = ALSConfig(embedding_size=3, regularization=0.5, alpha=4.0, recency_decay=0.0)
    model = ALSRetriever(config)
    model.fit(log, catalogue, seed=1)
    items = model.item_vectors().astype(np.float64)
    history = log.histories([2]).items[0]
    own = items[history]
    # (Y'Y + Y_u'(C - I)Y_u + lambda I) x = Y_u' C 1, Hu, Koren and Volinsky 2008
    left = items.T @ items + (config.alpha - 1) * own.T @ own + config.regularization * np.eye(3)
    expected = np.linalg.solve(left, config.alpha * own.sum(axis=0))
    np.testing.assert_allclose(model.user_vectors(log.histories([2]))[0], expected, rtol=1e-3)


def test_an_item_without_interactions_has_a_zero_vector(checkerboard: tuple[Catalogue, InteractionLog]) -> None:
    catalogue, log = checkerboard
    model = ALSRetriever(ALSConfig(embedding_size=3))
    model.fit(log.select(log.item_rows != 4), catalogue, seed=0)
    assert not model.item_vectors()[4].any()
    assert model.item_vectors()[5].any()


def test_blas_has_one_thread_inside() -> None:
    with quiet_blas():
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {1}


def test_sizes_must_be_positive() -> None:
    with pytest.raises(ConfigurationError, match="embedding_size"):
        ALSConfig(embedding_size=0)
