import numpy as np
import pytest

from models.catalogue import Catalogue
from models.ease import EASEConfig, EASERetriever
from models.errors import ConfigurationError, DataError
from models.interactions import InteractionLog
from models.retriever import log_matrix

Market = tuple[Catalogue, InteractionLog]


@pytest.fixture
def dense(checkerboard: Market) -> np.ndarray:
    """The closed form, computed the plain way in float64."""
    _, log = checkerboard
    users_by_item = log_matrix(log).toarray().astype(np.float64)
    inverse = np.linalg.inv(users_by_item.T @ users_by_item + 2.0 * np.eye(20))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights


def test_weights_equal_the_closed_form(
    checkerboard: Market, dense: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.ease.ROWS_PER_BLOCK", 7)  # blocks that do not divide the catalogue
    catalogue, log = checkerboard
    model = EASERetriever(EASEConfig(regularization=2.0, neighbours=0))
    model.fit(log, catalogue)
    np.testing.assert_allclose(model.weights().toarray(), dense, rtol=1e-4, atol=1e-6)


def test_only_the_strongest_weights_are_kept(checkerboard: Market, dense: np.ndarray) -> None:
    catalogue, log = checkerboard
    model = EASERetriever(EASEConfig(regularization=2.0, neighbours=9))
    model.fit(log, catalogue)
    kept = model.weights().toarray()
    assert ((kept != 0).sum(axis=1) >= 9).all()
    np.testing.assert_allclose(kept[kept != 0], dense[kept != 0], rtol=1e-4, atol=1e-6)
    assert np.abs(dense[kept == 0]).max() <= np.abs(kept[kept != 0]).min() + 1e-6


def test_a_large_catalogue_is_refused_with_its_memory_and_a_remedy(checkerboard: Market) -> None:
    catalogue, log = checkerboard
    with pytest.raises(DataError, match=r"20 items are more than ease.max_items \(10\) and would take .* GB; set ease"):
        EASERetriever(EASEConfig(max_items=10)).fit(log, catalogue)


def test_a_large_catalogue_is_solved_locally_where_that_is_allowed(checkerboard: Market, dense: np.ndarray) -> None:
    catalogue, log = checkerboard
    model = EASERetriever(EASEConfig(regularization=2.0, max_items=10, solver="auto"))
    model.fit(log, catalogue)
    np.testing.assert_allclose(model.weights().toarray(), dense, rtol=1e-4, atol=1e-5)


def test_pairs_beyond_the_memory_limit_are_refused(checkerboard: Market) -> None:
    catalogue, log = checkerboard
    with pytest.raises(DataError, match=r"more than ease.max_memory_gib \(1e-06\); lower ease.max_user_items"):
        EASERetriever(EASEConfig(solver="local", max_memory_gib=1e-6)).fit(log, catalogue)


def test_an_unknown_solver_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"ease.solver must be dense, local or auto, not 'sparse'"):
        EASEConfig(solver="sparse")  # type: ignore[arg-type]
