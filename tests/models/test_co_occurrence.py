import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from models.catalogue import Catalogue
from models.co_occurrence import CoOccurrenceConfig, CoOccurrenceRetriever, strongest_in_rows
from models.interactions import InteractionLog

IDS = ["a", "b", "c"]
CATALOGUE = Catalogue.from_frame(pd.DataFrame({"item_id": IDS}))


def log_of(baskets: dict[str, str]) -> InteractionLog:
    rows = [(user, item, number) for user, items in baskets.items() for number, item in enumerate(items)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "position"])
    frame = frame.assign(event_at=pd.Timestamp("2026-01-01"), weight=1.0)
    return InteractionLog.from_frame(frame, IDS)


def fitted(baskets: dict[str, str], **settings: int) -> CoOccurrenceRetriever:
    model = CoOccurrenceRetriever(CoOccurrenceConfig(**settings))
    model.fit(log_of(baskets), CATALOGUE)
    return model


def test_cosines_equal_the_hand_computed_ones() -> None:
    # a: users 1 2 3, b: users 1 2, c: user 3
    cosines = fitted({"1": "ab", "2": "ab", "3": "ac"}).neighbours().toarray()
    ab, ac = 2 / np.sqrt(3 * 2), 1 / np.sqrt(3)
    np.testing.assert_allclose(cosines, [[0, ab, ac], [ab, 0, 0], [ac, 0, 0]], rtol=1e-6)


def test_only_the_strongest_neighbours_are_kept() -> None:
    cosines = fitted({"1": "ab", "2": "ab", "3": "ac"}, neighbours=1).neighbours().toarray()
    assert (cosines > 0).sum(axis=1).tolist() == [1, 1, 1]
    assert cosines[0].argmax() == 1


def test_a_repeat_counts_once() -> None:
    once = fitted({"1": "ab", "2": "ac"}).neighbours().toarray()
    twice = fitted({"1": "aab", "2": "ac"}).neighbours().toarray()
    np.testing.assert_allclose(once, twice)


def test_only_the_latest_items_of_a_heavy_user_are_counted() -> None:
    cosines = fitted({"1": "abc"}, max_user_items=2).neighbours().toarray()
    np.testing.assert_allclose(cosines, [[0, 0, 0], [0, 0, 1], [0, 1, 0]])


def test_the_latest_item_weighs_most() -> None:
    model = fitted({"1": "ac", "2": "bc", "3": "a", "4": "b"})
    scores = model.score(log_of({"x": "a"}).histories([0]))[0, 2], model.score(log_of({"x": "ab"}).histories([0]))[0, 2]
    assert scores[1] == np.float32(scores[0] * (1 + np.exp(-0.5)))


@pytest.mark.parametrize("count", [1, 3, 20])
def test_the_strongest_of_a_row_are_those_of_sorting_it_whole(count: int) -> None:
    rng = np.random.default_rng(count)
    # Four values only, so that most rows have ties where they are cut; the last rows are empty.
    dense = (rng.integers(0, 4, (40, 30)) / 4).astype(np.float32)
    dense[-2:] = 0
    found = strongest_in_rows(shuffled(dense, rng), 5, count).toarray()
    expected = np.zeros_like(dense)
    for row, values in enumerate(dense):
        others = [column for column in np.flatnonzero(values) if column != row + 5]
        for column in sorted(others, key=lambda column: (-values[column], column))[:count]:
            expected[row, column] = values[column]
    np.testing.assert_array_equal(found, expected)


def shuffled(dense: np.ndarray, rng: np.random.Generator) -> sparse.csr_matrix:
    """As a sparse matrix whose rows hold their entries in any order, as a product's do."""
    matrix = sparse.csr_matrix(dense)
    for begin, end in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
        order = rng.permutation(end - begin)
        matrix.indices[begin:end], matrix.data[begin:end] = (
            matrix.indices[begin:end][order],
            matrix.data[begin:end][order],
        )
    return matrix
