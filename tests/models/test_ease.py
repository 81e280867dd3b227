import numpy as np
import pytest

from models.catalogue import Catalogue
from models.ease import EASEConfig, EASERetriever
from models.errors import DataError
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


def test_a_large_catalogue_is_refused_with_its_memory(checkerboard: Market) -> None:
    catalogue, log = checkerboard
    with pytest.raises(DataError, match=r"20 items would take .* GB; the limit is 10 items"):
        EASERetriever(EASEConfig(max_items=10)).fit(log, catalogue)
