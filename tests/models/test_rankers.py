"""The contract that every ranker obeys, and what each is planted to find."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.errors import ConfigurationError, NotFittedError
from models.fusion import ScoredCandidates
from models.fusion_config import METHODS, FusionConfig
from models.fusion_fitting import cross_fitted, fit_fusion, fit_ranker, ndcg_of
from models.interactions import Histories, IntArray
from models.rank_features import ItemFacts, RankContext
from models.rankers import LinearRanker, Ranker, ReciprocalRankRanker, StackedRanker, load_ranker
from models.ranking_sample import RankingSample
from models.splitting import Targets

ITEMS, USERS = 30, 120
CONFIG = FusionConfig(k=5, evaluations=30, trees=20, leaves=4, min_leaf=5, narrow=15)


def make_sample(*, seed: int = 0) -> RankingSample:
    """Retriever `good` puts the target first but for noise, `bad` knows nothing; half the targets share a brand
    with the last item, which no retriever can see."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"item_id": [f"i{row:02d}" for row in range(ITEMS)], "price": np.arange(1.0, ITEMS + 1)})
    frame["brand_or_author"] = [f"b{row % 5}" for row in range(ITEMS)]
    catalogue = Catalogue.from_frame(frame)
    history = rng.integers(0, ITEMS, (USERS, 4)).astype(np.int32)
    wanted = (history[:, -1] + 5 * rng.integers(1, 6, USERS)) % ITEMS
    scores = rng.standard_normal((2, USERS, ITEMS)).astype(np.float32)
    scores[0, np.arange(USERS), wanted] += 1.5
    candidates = ScoredCandidates(np.tile(np.arange(ITEMS, dtype=np.int32), (USERS, 1)), scores)
    histories = Histories(
        history, np.ones(history.shape, np.float32), np.full(history.shape, 10, np.int64), np.full(USERS, "", object)
    )
    facts = ItemFacts.of(catalogue, np.ones(ITEMS, dtype=np.int64), None)
    targets = Targets(np.arange(USERS + 1), wanted.astype(np.int32))
    return RankingSample(("good", "bad"), candidates, targets, RankContext(histories, facts, 20))


@pytest.fixture(scope="module")
def sample() -> RankingSample:
    return make_sample()


@pytest.fixture(scope="module", params=METHODS)
def ranker(request: pytest.FixtureRequest, sample: RankingSample) -> Ranker:
    return fit_ranker(request.param, sample, CONFIG, seed=1)


def scored(ranker: Ranker, sample: RankingSample) -> tuple[ScoredCandidates, np.ndarray[tuple[int, ...], np.dtype]]:
    kept = ranker.narrowed(sample.candidates, np.zeros(sample.candidates.items.shape, dtype=bool))
    return kept, ranker.score(kept, sample.context)


def best(ranker: Ranker, sample: RankingSample, count: int = 5) -> IntArray:
    kept, scores = scored(ranker, sample)
    return np.take_along_axis(kept.items, np.argsort(-scores, axis=1, kind="stable")[:, :count], axis=1)


def test_terms_add_up_to_the_score(ranker: Ranker, sample: RankingSample) -> None:
    kept, scores = scored(ranker, sample)
    places = np.argsort(-scores, axis=1)[:, :4].astype(np.int32)
    terms = ranker.contributions(kept, sample.context, places)
    assert terms.shape == (len(ranker.terms), USERS, 4)
    np.testing.assert_allclose(terms.sum(axis=0), np.take_along_axis(scores, places, axis=1), atol=2e-4)


def test_a_user_alone_is_scored_as_in_a_batch(ranker: Ranker, sample: RankingSample) -> None:
    together = scored(ranker, sample)[1]
    for user in (0, 7, 119):
        np.testing.assert_array_equal(scored(ranker, sample.of_users(np.array([user])))[1][0], together[user])


def test_padding_is_never_ranked(ranker: Ranker, sample: RankingSample) -> None:
    items = sample.candidates.items.copy()
    items[:, 20:] = -1
    padded = ScoredCandidates(items, np.where(items >= 0, sample.candidates.scores, 0).astype(np.float32))
    assert np.isneginf(ranker.score(padded, sample.context)[:, 20:]).all()


def test_a_saved_ranker_scores_as_before(ranker: Ranker, sample: RankingSample, tmp_path: Path) -> None:
    ranker.save(tmp_path)
    loaded = load_ranker(tmp_path)
    assert loaded.name == ranker.name
    np.testing.assert_array_equal(scored(loaded, sample)[1], scored(ranker, sample)[1])
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".txt"}


def test_fitting_twice_gives_the_same_scores(ranker: Ranker, sample: RankingSample) -> None:
    again = fit_ranker(ranker.name, sample, CONFIG, seed=1)
    np.testing.assert_array_equal(scored(again, sample)[1], scored(ranker, sample)[1])


def test_without_users_there_is_a_ranker_still(ranker: Ranker, sample: RankingSample) -> None:
    nobody = sample.of_users(np.zeros(0, dtype=np.int64))
    made = fit_ranker(ranker.name, nobody, CONFIG, seed=1)
    assert np.isfinite(scored(made, sample)[1]).all()


def test_reciprocal_ranks_are_those_of_the_paper() -> None:
    candidates = ScoredCandidates(
        np.array([[0, 1, 2]], np.int32), np.array([[[3, 2, 1]], [[1, 1, 5]], [[0, 0, 0]]], np.float32)
    )
    ranker = ReciprocalRankRanker(("a", "b", "silent"), 1.0)
    # scale (1 + 1) / 3; ranks by a: 1 2 3, by b: 2 2 1 (ties share the better place), the third says nothing
    expected = 2 / 3 * np.array([[1 / 2 + 1 / 3, 1 / 3 + 1 / 3, 1 / 4 + 1 / 2]])
    np.testing.assert_allclose(ranker.score(candidates, make_sample().context), expected, atol=5e-5)


def test_stacking_leaves_out_what_knows_nothing(sample: RankingSample) -> None:
    made = StackedRanker.fit(sample.retrievers, sample.candidates, sample.targets, CONFIG, 0)
    assert np.abs(made.weights).sum() == pytest.approx(1, abs=1e-5)
    assert made.weights[0] > 5 * abs(made.weights[1])


def test_lambdarank_finds_the_brand_that_no_retriever_sees() -> None:
    sample, unseen = make_sample(), make_sample(seed=9)
    trees, weighted = (fit_ranker(method, sample, CONFIG, seed=1) for method in ("lambdarank", "weighted"))
    assert ndcg_of(trees, unseen, 5).mean() > ndcg_of(weighted, unseen, 5).mean() + 0.1
    kept, scores = scored(trees, unseen)
    places = scores.argmax(axis=1)[:, None].astype(np.int32)
    terms = np.abs(trees.contributions(kept, unseen.context, places)).mean(axis=(1, 2))
    largest = {trees.terms[row] for row in np.argsort(-terms)[:3]}
    assert "same_brand" in largest


def test_the_narrow_stage_keeps_the_best_and_what_must_stay(sample: RankingSample) -> None:
    trees = fit_ranker("lambdarank", sample, CONFIG, seed=1)
    keep = np.zeros(sample.candidates.items.shape, dtype=bool)
    keep[:, 3] = True
    kept = trees.narrowed(sample.candidates, keep)
    assert (kept.items == 3).any(axis=1).all()
    assert set((kept.items >= 0).sum(axis=1)) <= {15, 16}


def test_auto_takes_the_trees_only_where_they_win(sample: RankingSample) -> None:
    config = replace(CONFIG, method="auto")
    assert fit_fusion(sample, config, seed=0).ranker.name == "lambdarank"
    facts = replace(sample.context.facts, brands=np.full(ITEMS, -1, np.int32))
    blind = replace(sample, context=replace(sample.context, facts=facts))
    fitted = fit_fusion(blind, config, seed=0)
    assert set(fitted.compared) == set(METHODS)
    assert fitted.ranker.name in ("weighted", "stacked")


def test_cross_fitting_judges_each_user_once(sample: RankingSample) -> None:
    values = cross_fitted(sample, CONFIG, seed=0, methods=["rrf"])
    whole = ndcg_of(ReciprocalRankRanker(sample.retrievers, CONFIG.rrf_constant), sample, CONFIG.k)
    np.testing.assert_allclose(values["rrf"], whole)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="no ranker"):
        load_ranker(tmp_path)
    LinearRanker(("a",), np.ones(1, np.float32)).save(tmp_path)
    (tmp_path / "ranker.json").write_text('{"name": "magic"}')
    with pytest.raises(ConfigurationError, match="magic"):
        load_ranker(tmp_path)
    with pytest.raises(ConfigurationError, match=r"fusion\.method"):
        FusionConfig(method="magic")
