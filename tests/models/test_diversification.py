import numpy as np
import pytest

from models.diversification import DIVERSITIES, Pool, reorder
from models.errors import ConfigurationError


def pool(scores: list[float], vectors: list[list[float]], categories: list[int], history: list[int]) -> Pool:
    made = np.array(vectors, dtype=np.float32)
    return Pool(
        np.array(scores, np.float32),
        made / np.linalg.norm(made, axis=1, keepdims=True),
        np.array(categories, np.int32),
        np.array(history, np.int32),
    )


TWINS = pool([1.0, 0.9, 0.5, 0.0], [[1, 0], [1, 0], [0, 1], [0, 1]], [0, 0, 1, 1], [0, 0, 1, 1])


@pytest.mark.parametrize("method", DIVERSITIES)
def test_every_order_holds_each_place_once(method: str) -> None:
    for weight in (0.0, 0.5, 0.99):
        assert sorted(reorder(TWINS, method, weight, 3).tolist()) == [0, 1, 2, 3]  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["mmr", "dpp", "calibrated"])
def test_without_weight_the_order_stands(method: str) -> None:
    assert reorder(TWINS, method, 0.0, 4).tolist() == [0, 1, 2, 3]  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["mmr", "dpp", "calibrated"])
def test_with_weight_a_twin_waits_for_the_other_kind(method: str) -> None:
    assert reorder(TWINS, method, 0.6, 4).tolist()[:2] == [0, 2]  # type: ignore[arg-type]


def test_mmr_takes_the_hand_computed_next() -> None:
    # after place 0 (weight .3): place 1 has .7 * .9 - .3 * 1 = .33, place 2 has .7 * .5 = .35
    assert reorder(TWINS, "mmr", 0.3, 2).tolist() == [0, 2, 1, 3]
    assert reorder(TWINS, "mmr", 0.2, 2).tolist() == [0, 1, 2, 3]


def test_greedy_dpp_equals_the_largest_determinants() -> None:
    rng = np.random.default_rng(0)
    own = pool(sorted(rng.random(8), reverse=True), rng.random((8, 3)).tolist(), [0] * 8, [])
    relevance = (own.scores - own.scores[-1]) / (own.scores[0] - own.scores[-1])
    quality = np.exp(0.5 * (relevance - 1))
    likeness = np.maximum(own.vectors @ own.vectors.T, 0)
    np.fill_diagonal(likeness, 1)
    kernel = quality[:, None] * (0.999 * likeness + 0.001 * np.eye(8)) * quality
    chosen: list[int] = []
    for _ in range(3):
        free = [place for place in range(8) if place not in chosen]
        chosen.append(max(free, key=lambda p: np.linalg.det(kernel[np.ix_([*chosen, p], [*chosen, p])])))
    assert reorder(own, "dpp", 0.5, 3).tolist()[:3] == chosen


def test_calibration_follows_the_shares_of_the_history() -> None:
    own = pool([6, 5, 4, 3, 2, 1], [[1, 0]] * 6, [0, 0, 0, 0, 1, 1], [0, 1, 1, 1])
    order = reorder(own, "calibrated", 0.95, 3)[:3]
    assert sorted(own.categories[order].tolist()) == [0, 1, 1]


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigurationError, match="diversity must be"):
        reorder(TWINS, "magic", 0.5, 2)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="diversity_weight"):
        reorder(TWINS, "mmr", 1.5, 2)
