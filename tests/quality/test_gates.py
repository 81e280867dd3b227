import numpy as np
import pytest

from models.bootstrap import bootstrap_intervals
from models.errors import DataError
from models.evaluation import EvaluationResult
from quality.gates import GateRule, decide

NOISE = np.tile([0.0, 1.0, 0.5, 0.5], 50)


def result(values: np.ndarray, coverage: float = 0.5) -> EvaluationResult:
    interval = bootstrap_intervals(values[:, None], seed=0)[0]
    users = np.array([f"u{i}" for i in range(len(values))], dtype=object)
    return EvaluationResult(users, {"ndcg@10": interval}, {"coverage@10": coverage}, [], {"ndcg@10": values})


POPULARITY = result(NOISE * 0.5)
CHAMPION = result(NOISE)


def test_first_model_is_refused_only_clearly_below_popularity() -> None:
    assert decide(result(NOISE), POPULARITY, None, seed=0).accepted
    assert decide(POPULARITY, POPULARITY, None, seed=0).accepted
    by_chance = np.concatenate([NOISE[:-4], np.zeros(4)]) * 0.5
    noisy = decide(result(by_chance), POPULARITY, None, seed=0)
    assert noisy.accepted
    assert "not clearly below popularity" in noisy.reasons[0]
    refused = decide(result(NOISE * 0.4), POPULARITY, None, seed=0)
    assert not refused.accepted
    assert "BELOW popularity: 0.2000 against 0.2500 (-0.0500" in refused.reasons[0]


def test_later_model_must_be_above_popularity() -> None:
    assert not decide(POPULARITY, POPULARITY, result(NOISE * 0.5), seed=0).accepted


def test_noise_does_not_block_but_a_steady_loss_does() -> None:
    assert decide(result(np.roll(NOISE, 1)), POPULARITY, CHAMPION, seed=0).accepted
    worse = decide(result(NOISE - 0.02), POPULARITY, CHAMPION, seed=0)
    assert not worse.accepted
    assert "CLEARLY WORSE than the champion's: -0.0200" in worse.reasons[1]


def test_collapsing_coverage_blocks() -> None:
    collapsed = decide(result(NOISE + 0.1, coverage=0.2), POPULARITY, CHAMPION, seed=0)
    assert not collapsed.accepted
    assert "COLLAPSES: 0.200 against the champion's 0.500" in collapsed.reasons[2]
    lenient = GateRule(least_coverage=0.3)
    assert decide(result(NOISE + 0.1, coverage=0.2), POPULARITY, CHAMPION, seed=0, rule=lenient).accepted


def test_every_condition_is_in_the_reasons() -> None:
    decision = decide(result(NOISE + 0.1), POPULARITY, CHAMPION, seed=0)
    assert len(decision.reasons) == 3
    assert decision.to_markdown().startswith("Challenger **accepted**.\n\n- ndcg@10 is above popularity")


def test_without_users_only_a_first_model_passes() -> None:
    nobody = result(np.empty(0))
    assert decide(nobody, nobody, None, seed=0).accepted
    assert not decide(nobody, nobody, nobody, seed=0).accepted


def test_another_split_is_refused() -> None:
    with pytest.raises(DataError, match="different users"):
        decide(result(NOISE), result(NOISE[:10]), None, seed=0)
