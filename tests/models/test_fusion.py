import numpy as np
import pytest

from models.bagging import robust_weights
from models.errors import ConfigurationError
from models.fusion import ScoredCandidates, fit_weights, mean_ndcg, normalise, target_places
from models.fusion_config import FusionConfig
from models.lean_fusion import without_idle
from models.splitting import Targets

EVERY = np.ones((1, 4), dtype=bool)


def targets(*items: list[int]) -> Targets:
    lengths = [len(own) for own in items]
    rows = np.array([item for own in items for item in own], dtype=np.int32)
    return Targets(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), rows)


def test_normalised_scores_have_zero_mean_and_unit_deviation() -> None:
    scores = np.array([[1, 2, 3, 6]], dtype=np.float32)
    np.testing.assert_allclose(normalise(scores, EVERY), (scores - 3) / np.sqrt(3.5), rtol=1e-6)


def test_equal_scores_normalise_to_zero() -> None:
    assert not normalise(np.full((1, 4), 7, dtype=np.float32), EVERY).any()


def test_padding_takes_no_part_in_normalisation() -> None:
    scores = np.array([[1, 2, 3, 6, 99]], dtype=np.float32)
    narrow = normalise(scores[:, :4], EVERY)
    wide = normalise(scores, np.array([[True, True, True, True, False]]))
    np.testing.assert_array_equal(wide, np.append(narrow, [[0]], axis=1).astype(np.float32))


def test_fused_scores_are_the_weighted_sum() -> None:
    candidates = ScoredCandidates(
        np.array([[3, 5, -1]], dtype=np.int32), np.array([[[1, 2, 0]], [[4, 0, 0]]], dtype=np.float32)
    )
    np.testing.assert_allclose(candidates.fused(np.array([0.5, 0.25], dtype=np.float32)), [[1.5, 1.0, -np.inf]])


def test_ndcg_equals_the_hand_computed_one() -> None:
    fused = np.array([[0.1, 0.9, 0.5], [0.3, 0.2, 0.1]], dtype=np.float32)
    items = np.array([[10, 11, 12], [10, 11, 12]], dtype=np.int32)
    wanted = targets([12], [10, 99])  # ranks 2; 1 and missed
    first = 1 / np.log2(3)
    second = 1 / (1 + 1 / np.log2(3))
    assert mean_ndcg(fused, target_places(items, wanted), wanted, k=2) == pytest.approx((first + second) / 2)


def test_a_tie_goes_to_the_lower_item_row() -> None:
    fused = np.array([[0.5, 0.5]], dtype=np.float32)
    items = np.array([[1, 2]], dtype=np.int32)
    assert mean_ndcg(fused, target_places(items, targets([2])), targets([2]), k=1) == 0
    assert mean_ndcg(fused, target_places(items, targets([1])), targets([1]), k=1) == 1


@pytest.fixture
def two_halves() -> tuple[ScoredCandidates, Targets]:
    """Retriever 0 knows the even users, 1 the odd ones, and 2 nothing; where one does not know, it is indifferent."""
    rng = np.random.default_rng(0)
    items = np.tile(np.arange(20, dtype=np.int32), (200, 1))
    wanted = rng.integers(0, 20, 200)
    scores = rng.standard_normal((3, 200, 20)).astype(np.float32) * 0.5
    for retriever in (0, 1):
        known = np.arange(retriever, 200, 2)
        scores[retriever, known, wanted[known]] += 4
    return ScoredCandidates(items, scores), targets(*[[item] for item in wanted])


def test_weights_find_the_retrievers_that_know(two_halves: tuple[ScoredCandidates, Targets]) -> None:
    weights, ndcg = fit_weights(*two_halves, FusionConfig(k=1), seed=0)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    assert weights[2] < min(weights[0], weights[1])
    assert ndcg > 0.95


def test_a_retriever_that_adds_too_little_gets_no_weight(two_halves: tuple[ScoredCandidates, Targets]) -> None:
    candidates, wanted = two_halves
    weights = np.array([0.45, 0.45, 0.1], dtype=np.float32)
    np.testing.assert_allclose(
        without_idle(weights, candidates, wanted, least_gain=0.01, k=1), [0.5, 0.5, 0.0], atol=1e-6
    )
    assert np.count_nonzero(without_idle(weights, candidates, wanted, least_gain=1.0, k=1)) == 1
    asked, free = (robust_weights(*two_halves, FusionConfig(least_gain=gain), seed=0) for gain in (0.01, 0.0))
    assert free[2] > asked[2] == 0


def test_fused_is_never_worse_than_the_best_alone(two_halves: tuple[ScoredCandidates, Targets]) -> None:
    candidates, wanted = two_halves
    places = target_places(candidates.items, wanted)
    alone = [mean_ndcg(candidates.fused(one), places, wanted, k=10) for one in np.eye(3, dtype=np.float32)]
    assert fit_weights(candidates, wanted, FusionConfig(evaluations=3), seed=0)[1] >= max(alone)


def test_the_same_seed_gives_the_same_weights(two_halves: tuple[ScoredCandidates, Targets]) -> None:
    first, second = (fit_weights(*two_halves, FusionConfig(), seed=5)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_without_users_all_retrievers_weigh_alike() -> None:
    nothing = ScoredCandidates(np.zeros((0, 1), dtype=np.int32), np.zeros((4, 0, 1), dtype=np.float32))
    np.testing.assert_allclose(fit_weights(nothing, targets(), FusionConfig(), seed=0)[0], 0.25)


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigurationError, match="evaluations"):
        FusionConfig(evaluations=0)
    with pytest.raises(ConfigurationError, match="least_gain"):
        FusionConfig(least_gain=-0.1)
