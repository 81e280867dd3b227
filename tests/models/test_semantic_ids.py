"""Semantic IDs: close items share codes, every item has its own ID, and nobody's ID ever changes."""

from pathlib import Path

import numpy as np
import pytest

from models.errors import ConfigurationError, DataError, NotFittedError
from models.interactions import FloatArray, ObjectArray
from models.semantic_ids import NO_ID, SemanticIds
from models.semantic_ids_config import SemanticIdConfig

CONFIG = SemanticIdConfig(levels=2, codes=4)
CENTRES = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=np.float32)


def names(count: int, prefix: str = "i") -> ObjectArray:
    return np.array([f"{prefix}{row:03d}" for row in range(count)], dtype=object)


def clouds(per_cloud: int = 10, seed: int = 0) -> FloatArray:
    """Four clouds of points, `per_cloud` each, one after the other."""
    noise = np.random.default_rng(seed).normal(scale=0.02, size=(4 * per_cloud, 4))
    return np.asarray(np.repeat(CENTRES, per_cloud, axis=0) + noise, dtype=np.float32)


def test_the_first_code_tells_the_clouds_apart() -> None:
    ids = SemanticIds.train(names(40), clouds(), CONFIG, seed=1)
    first = ids.of(names(40))[:, 0].reshape(4, 10)
    assert (first == first[:, :1]).all()
    assert len(set(first[:, 0].tolist())) == 4


def test_every_item_has_its_own_id() -> None:
    vectors = np.repeat(CENTRES, 10, axis=0)  # ten equal vectors each: all codes collide
    tokens = SemanticIds.train(names(40), vectors, CONFIG, seed=1).of(names(40))
    assert len({tuple(row) for row in tokens.tolist()}) == 40
    np.testing.assert_array_equal(tokens[:10, -1], np.arange(10))


def test_codes_are_the_nearest_centres_by_brute_force() -> None:
    ids = SemanticIds.train(names(40), clouds(), CONFIG, seed=1)
    left = clouds(seed=5)
    for level, centres in enumerate(ids.centres):
        nearest = np.linalg.norm(left[:, None] - centres[None], axis=2).argmin(axis=1)
        np.testing.assert_array_equal(ids.codes(clouds(seed=5))[:, level], nearest)
        left = left - centres[nearest]


def test_the_seed_decides() -> None:
    first, again = (SemanticIds.train(names(40), clouds(), CONFIG, seed=1) for _ in range(2))
    np.testing.assert_array_equal(first.tokens, again.tokens)
    np.testing.assert_array_equal(first.centres, again.centres)


def test_a_new_item_gets_the_codes_of_its_neighbours_and_the_next_number() -> None:
    ids = SemanticIds.train(names(40), clouds(), CONFIG, seed=1)
    before, like = ids.of(names(40)), clouds()[:1]
    more = ids.extended(np.append(names(40), "new"), np.vstack([clouds(), like]))
    np.testing.assert_array_equal(more.of(names(40)), before)
    fresh = more.of(np.array(["new"], dtype=object))[0]
    twins = before[(before[:, :-1] == before[0, :-1]).all(axis=1)]
    np.testing.assert_array_equal(fresh, [*before[0, :-1], twins[:, -1].max() + 1])


def test_an_item_that_comes_back_has_its_old_id() -> None:
    ids = SemanticIds.train(names(40), clouds(), CONFIG, seed=1)
    gone = ids.extended(names(39), clouds()[:39]).extended(names(40), clouds(seed=9))
    np.testing.assert_array_equal(gone.of(names(40)), ids.of(names(40)))


def test_items_without_vector_and_beyond_the_last_number_have_no_id() -> None:
    vectors = np.vstack([np.repeat(CENTRES, 3, axis=0), np.zeros((1, 4), np.float32)])
    config = SemanticIdConfig(levels=2, codes=4, most_collisions=2)
    tokens = SemanticIds.train(names(13), vectors, config, seed=1).of(names(13))
    without = [2, 5, 8, 11, 12]
    assert (tokens[without] == NO_ID).all()
    assert (np.delete(tokens, without, axis=0) >= 0).all()


def test_saved_and_loaded(tmp_path: Path) -> None:
    ids = SemanticIds.train(names(40), clouds(), CONFIG, seed=1)
    ids.save(tmp_path)
    loaded = SemanticIds.load(tmp_path)
    np.testing.assert_array_equal(loaded.of(names(40)), ids.of(names(40)))
    np.testing.assert_array_equal(loaded.codes(clouds(seed=3)), ids.codes(clouds(seed=3)))
    with pytest.raises(NotFittedError):
        SemanticIds.load(tmp_path / "nowhere")


def test_bad_input_is_named() -> None:
    with pytest.raises(ConfigurationError, match="power of two"):
        SemanticIdConfig(codes=100)
    with pytest.raises(DataError, match="1 items have a vector"):
        SemanticIds.train(names(2), np.eye(2, 4, dtype=np.float32) * [[1], [0]], CONFIG, seed=1)
    ids = SemanticIds.train(names(40), clouds(), CONFIG, seed=1)
    with pytest.raises(DataError, match="3 dimensions"):
        ids.extended(names(1, "x"), np.ones((1, 3), dtype=np.float32))
