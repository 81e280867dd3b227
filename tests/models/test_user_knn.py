import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.errors import ConfigurationError
from models.interactions import InteractionLog
from models.user_knn import UserKNNConfig, UserKNNRetriever

IDS = ["a", "b", "c", "d"]
CATALOGUE = Catalogue.from_frame(pd.DataFrame({"item_id": IDS}))
RATINGS = {
    "1": {"a": 5.0, "b": 1.0, "c": 4.0},
    "2": {"a": 4.0, "b": 2.0, "d": 5.0},
    "3": {"a": 1.0, "b": 5.0, "c": 2.0, "d": 1.0},
    "4": {"c": 3.0},
}
OWN = {"a": 4.0, "b": 1.0}


def log_of(ratings: dict[str, dict[str, float]]) -> InteractionLog:
    rows = [(user, item, value) for user, own in ratings.items() for item, value in own.items()]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "weight"])
    days = pd.to_timedelta(range(len(frame)), unit="D")
    return InteractionLog.from_frame(frame.assign(event_at=pd.Timestamp("2026-01-01") + days), IDS)


def baskets(histories: dict[str, str]) -> InteractionLog:
    return log_of({user: dict.fromkeys(items, 1.0) for user, items in histories.items()})


def scores(config: UserKNNConfig, log: InteractionLog, own: InteractionLog) -> np.ndarray:
    model = UserKNNRetriever(config)
    model.fit(log, CATALOGUE)
    return np.asarray(model.score(own.histories([0]))[0])


def similarity(own: dict[str, float], other: dict[str, float], *, is_centred: bool) -> float:
    shared = sorted(set(own) & set(other))
    mean, other_mean = (np.mean(list(one.values())) if is_centred else 0 for one in (own, other))
    left = np.array([own[item] - mean for item in shared])
    right = np.array([other[item] - other_mean for item in shared])
    return float(left @ right / np.sqrt((left @ left) * (right @ right))) if shared else 0.0


def plain_prediction(item: str, name: str) -> float:
    """The mean-centred formula, one neighbour after the other."""
    above, below = 0.0, 0.0
    for other in RATINGS.values():
        weight = similarity(OWN, other, is_centred=name == "pearson")
        if item in other:
            above += weight * (other[item] - float(np.mean(list(other.values()))))
            below += abs(weight)
    return float(np.mean(list(OWN.values())) + above / below)


def test_votes_are_sums_of_cosines() -> None:
    # The history has a: cosine 1 / sqrt(2) with ab and with ac, none with d.
    votes = scores(UserKNNConfig(), baskets({"1": "ab", "2": "ac", "3": "d"}), baskets({"x": "a"}))
    np.testing.assert_allclose(votes, [2 / np.sqrt(2), 1 / np.sqrt(2), 1 / np.sqrt(2), 0], rtol=1e-6)


def test_votes_by_pearson_are_sums_of_correlations_over_the_catalogue() -> None:
    votes = scores(UserKNNConfig(similarity="pearson"), baskets({"1": "ab", "2": "abd"}), baskets({"x": "b"}))
    first = np.corrcoef([0, 1, 0, 0], [1, 1, 0, 0])[0, 1]
    second = np.corrcoef([0, 1, 0, 0], [1, 1, 0, 1])[0, 1]
    np.testing.assert_allclose(votes, [first + second, first + second, 0, second], rtol=1e-5)


@pytest.mark.parametrize("name", ["pearson", "cosine"])
def test_predictions_equal_the_mean_centred_formula(name: str) -> None:
    config = UserKNNConfig(similarity=name, prediction="centred")  # type: ignore[arg-type]
    predicted = scores(config, log_of(RATINGS), log_of({"x": OWN}))
    expected = [plain_prediction(item, name) for item in IDS]
    np.testing.assert_allclose(predicted, expected, rtol=1e-5)


def test_an_item_that_no_neighbour_rated_has_no_prediction() -> None:
    config = UserKNNConfig(similarity="pearson", prediction="centred")
    predicted = scores(config, log_of({"1": {"a": 5, "b": 1}, "2": {"c": 4, "d": 1}}), log_of({"x": OWN}))
    assert predicted[0] > predicted[1] > 0
    assert not predicted[2:].any()


def test_only_the_nearest_neighbours_vote() -> None:
    votes = scores(UserKNNConfig(neighbours=1), baskets({"1": "ab", "2": "acd"}), baskets({"x": "a"}))
    assert votes[1] > 0
    assert not votes[2:].any()


def test_a_similarity_on_few_shared_items_is_shrunk() -> None:
    votes = scores(UserKNNConfig(shrinkage=3.0), baskets({"1": "ab"}), baskets({"x": "a"}))
    np.testing.assert_allclose(votes[1], 1 / np.sqrt(2) * 1 / 4, rtol=1e-6)


def test_only_the_users_active_last_are_kept() -> None:
    votes = scores(UserKNNConfig(max_users=1), baskets({"1": "ab", "2": "ac"}), baskets({"x": "a"}))
    assert votes[2] > 0
    assert votes[1] == 0


def test_a_repeated_rating_counts_with_its_mean() -> None:
    log = log_of({"1": {"a": 5, "b": 1}})
    twice = InteractionLog(
        log.user_ids, log.segments, np.array([0, 3]), np.array([0, 1, 0], np.int32), np.arange(3),
        np.array([4, 1, 6], np.float32), 4,
    )  # fmt: skip
    config = UserKNNConfig(similarity="cosine", prediction="centred")
    once, again = UserKNNRetriever(config), UserKNNRetriever(config)
    once.fit(log, CATALOGUE)
    again.fit(twice, CATALOGUE)
    np.testing.assert_allclose(again.values().toarray(), once.values().toarray())
    np.testing.assert_allclose(again.score(twice.histories([0])), once.score(log.histories([0])))


def test_centred_predictions_need_ratings() -> None:
    reason = UserKNNConfig(prediction="centred").reason_to_skip(baskets({"1": "ab"}))
    assert reason == "all interactions have the same weight, so there are no ratings; set user_knn.prediction to 'vote'"
    assert UserKNNConfig(prediction="centred").reason_to_skip(log_of(RATINGS)) is None


@pytest.mark.parametrize("settings", [{"similarity": "jaccard"}, {"prediction": "mean"}, {"neighbours": 0}])
def test_settings_out_of_range_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=f"user_knn.{next(iter(settings))}"):
        UserKNNConfig(**settings)  # type: ignore[arg-type]
