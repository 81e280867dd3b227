import numpy as np

from models.bagging import robust_weights
from models.fusion import ScoredCandidates, fit_weights, mean_ndcg, target_places
from models.fusion_config import FusionConfig
from models.interactions import FloatArray
from models.splitting import Targets


def crowd(users: int, *, seed: int) -> tuple[ScoredCandidates, Targets]:
    """Six retrievers that know the target alike, each with noise of its own: equal weights are the best."""
    rng = np.random.default_rng(seed)
    wanted = rng.integers(0, 50, users)
    scores = rng.standard_normal((6, users, 50)).astype(np.float32)
    scores[:, np.arange(users), wanted] += 1
    items = np.tile(np.arange(50, dtype=np.int32), (users, 1))
    return ScoredCandidates(items, scores), Targets(np.arange(users + 1, dtype=np.int64), wanted.astype(np.int32))


def quality(weights: FloatArray) -> float:
    candidates, targets = crowd(4000, seed=99)
    return mean_ndcg(candidates.fused(weights), target_places(candidates.items, targets), targets, k=10)


def test_few_users_give_weights_that_hold_for_others() -> None:
    config, crowds = FusionConfig(), [crowd(40, seed=seed) for seed in range(5)]
    bagged = [quality(robust_weights(*few, config, seed=0)) for few in crowds]
    once = [quality(fit_weights(*few, config, seed=0)[0]) for few in crowds]
    assert np.mean(bagged) > np.mean(once) + 0.002


def test_weights_are_shares_and_the_seed_decides_them() -> None:
    first, second = (robust_weights(*crowd(30, seed=1), FusionConfig(), seed=5) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (first >= 0).all()
    np.testing.assert_allclose(first.sum(), 1, rtol=1e-6)


def test_with_enough_users_they_are_fitted_once() -> None:
    many, config = crowd(400, seed=2), FusionConfig(max_users=1000)
    np.testing.assert_array_equal(robust_weights(*many, config, seed=3), fit_weights(*many, config, seed=3)[0])


def test_without_users_all_retrievers_weigh_alike() -> None:
    nobody = ScoredCandidates(np.zeros((0, 1), dtype=np.int32), np.zeros((4, 0, 1), dtype=np.float32))
    none = Targets(np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32))
    np.testing.assert_allclose(robust_weights(nobody, none, FusionConfig(), seed=0), 0.25)
