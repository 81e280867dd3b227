import numpy as np
import pytest

from models.candidates import CandidateGenerator, CandidateRequest
from models.catalogue import Catalogue
from models.co_occurrence import CoOccurrenceRetriever
from models.content import ContentRetriever
from models.exact_products import ExactItems
from models.interactions import Histories, InteractionLog, empty_histories
from models.popularity import PopularityRetriever
from models.retriever import Retriever
from models.vector_index import IndexConfig, ItemIndex

Market = tuple[Catalogue, InteractionLog]
NO_ROWS = np.zeros(0, dtype=np.int32)


def request(**changes: object) -> CandidateRequest:
    settings: dict[str, object] = {
        "count": 3,
        "allowed": np.ones(20, dtype=bool),
        "exclude_seen": True,
        "extra_rows": NO_ROWS,
        "cold_rows": NO_ROWS,
    }
    return CandidateRequest(**{**settings, **changes})  # type: ignore[arg-type]


@pytest.fixture
def retrievers(checkerboard: Market) -> dict[str, Retriever]:
    catalogue, log = checkerboard
    made: dict[str, Retriever] = {
        "popularity": PopularityRetriever(),
        "co_occurrence": CoOccurrenceRetriever(),
        "content": ContentRetriever(),
    }
    for retriever in made.values():
        retriever.fit(log, catalogue, seed=0)
    return made


def own(items: np.ndarray) -> list[list[int]]:
    return [row[row >= 0].tolist() for row in items]


def test_the_union_is_ascending_distinct_and_unseen(retrievers: dict[str, Retriever], checkerboard: Market) -> None:
    _, log = checkerboard
    histories = log.histories(np.arange(20))
    scored = CandidateGenerator(retrievers, ("content",)).score(histories, request())
    for user, items in enumerate(own(scored.items)):
        assert items == sorted(set(items))
        assert user in items
        assert not set(items) & set(histories.items[user].tolist())
    assert scored.scores.shape == (3, *scored.items.shape)


def test_seen_items_stay_where_the_domain_allows_them(retrievers: dict[str, Retriever], checkerboard: Market) -> None:
    _, log = checkerboard
    scored = CandidateGenerator({"content": retrievers["content"]}, ()).score(
        log.histories([0]), request(count=20, exclude_seen=False)
    )
    assert set(range(0, 20, 2)) <= set(own(scored.items)[0])


def test_items_that_are_not_allowed_are_never_candidates(
    retrievers: dict[str, Retriever], checkerboard: Market
) -> None:
    _, log = checkerboard
    allowed = np.arange(20) != 4
    scored = CandidateGenerator(retrievers, ("content",)).score(
        log.histories([4]), request(allowed=allowed, extra_rows=np.array([4], dtype=np.int32))
    )
    assert 4 not in scored.items


@pytest.mark.parametrize("allowed", [np.ones(20, dtype=bool), np.arange(20) > 5])
def test_an_index_proposes_what_exact_scores_propose(
    retrievers: dict[str, Retriever], checkerboard: Market, allowed: np.ndarray
) -> None:
    catalogue, log = checkerboard
    vectors = {"content": retrievers["content"].item_vectors()}  # type: ignore[attr-defined]
    index = ItemIndex.build(vectors, catalogue.item_ids, config=IndexConfig(), seed=0)
    histories = log.histories(np.arange(20))
    generator = CandidateGenerator(retrievers, ("content",), index)
    generator.bind(catalogue.item_ids)
    through_index = generator.score(histories, request(allowed=allowed))
    exact = CandidateGenerator(retrievers, ("content",)).score(histories, request(allowed=allowed))
    np.testing.assert_array_equal(through_index.items, exact.items)
    np.testing.assert_array_equal(through_index.scores, exact.scores)


def test_an_item_that_left_the_index_is_not_proposed_through_it(
    retrievers: dict[str, Retriever], checkerboard: Market
) -> None:
    catalogue, log = checkerboard
    content = {"content": retrievers["content"]}
    vectors = {"content": retrievers["content"].item_vectors()}  # type: ignore[attr-defined]
    index = ItemIndex.build(vectors, catalogue.item_ids, config=IndexConfig(), seed=0)
    histories = log.histories(np.arange(5))
    best = CandidateGenerator(content, ()).score(histories, request(count=1)).items[:, 0]
    index.remove([catalogue.item_ids[best[0]]])
    generator = CandidateGenerator(content, (), index)
    generator.bind(catalogue.item_ids)
    found = generator.score(histories, request(count=1)).items
    assert best[0] not in found
    assert found.shape == (5, 1)


def test_rounded_items_are_made_anew_for_other_vectors(retrievers: dict[str, Retriever], checkerboard: Market) -> None:
    catalogue, log = checkerboard
    content, histories = {"content": retrievers["content"]}, log.histories(np.arange(5))
    kept: dict[str, ExactItems] = {}
    CandidateGenerator(content, (), exact=kept).score(histories, request())
    before = kept["content"]
    CandidateGenerator(content, (), exact=kept).score(histories, request())
    assert kept["content"] is before
    assert catalogue.embeddings is not None
    turned = catalogue.with_embeddings(np.ascontiguousarray(catalogue.embeddings[::-1]))
    content["content"].refresh(turned)
    again = CandidateGenerator(content, (), exact=kept).score(histories, request())
    assert kept["content"] is not before
    np.testing.assert_array_equal(again.scores, CandidateGenerator(content, ()).score(histories, request()).scores)


def test_a_new_user_gets_popularity_and_the_extra_items(retrievers: dict[str, Retriever]) -> None:
    nobody = empty_histories(np.array([""], dtype=object))
    extra = np.array([0], dtype=np.int32)
    scored = CandidateGenerator(retrievers, ("content",)).score(nobody, request(count=2, extra_rows=extra))
    assert len(own(scored.items)[0]) == 3
    assert 0 in scored.items


def test_cold_items_are_proposed_by_their_text(checkerboard: Market) -> None:
    catalogue, log = checkerboard
    warm = log.select(log.item_rows < 18)
    content = ContentRetriever()
    content.fit(warm, catalogue)
    cold = np.array([18, 19], dtype=np.int32)
    scored = CandidateGenerator({"content": content}, ("content",)).score(
        warm.histories([0, 1]), request(count=1, cold_rows=cold, cold_count=1)
    )
    assert [18 in own(scored.items)[0], 19 in own(scored.items)[1]] == [True, True]


def test_a_silent_retriever_proposes_and_scores_nothing(retrievers: dict[str, Retriever], checkerboard: Market) -> None:
    _, log = checkerboard
    histories = log.histories(np.arange(20))
    silent = frozenset({"co_occurrence"})
    found = CandidateGenerator(retrievers, ("content",), silent=silent).score(histories, request())
    others = {name: own for name, own in retrievers.items() if name not in silent}
    without = CandidateGenerator(others, ("content",)).score(histories, request())
    np.testing.assert_array_equal(found.items, without.items)
    np.testing.assert_array_equal(found.scores[[0, 2]], without.scores)
    assert not found.scores[1].any()


def test_a_silent_retriever_still_tells_cold_items_apart_by_their_text(checkerboard: Market) -> None:
    catalogue, log = checkerboard
    warm = log.select(log.item_rows < 18)
    fitted: dict[str, Retriever] = {"popularity": PopularityRetriever(), "content": ContentRetriever()}
    for retriever in fitted.values():
        retriever.fit(warm, catalogue, seed=0)
    cold = np.array([18, 19], dtype=np.int32)
    generator = CandidateGenerator(fitted, ("content",), silent=frozenset({"content"}))
    few = generator.score(warm.histories([0, 1]), request(count=1, cold_rows=cold, cold_count=1))
    assert [18 in own(few.items)[0], 19 in own(few.items)[1]] == [True, True]
    both = generator.score(warm.histories([0, 1]), request(count=1, cold_rows=cold, cold_count=2))
    text = [dict(zip(both.items[user].tolist(), both.scores[1, user].tolist(), strict=True)) for user in (0, 1)]
    assert text[0][18] > 0 > text[0][19]
    assert text[1][19] > 0 > text[1][18]
    assert [value for user in text for item, value in user.items() if item not in (18, 19)] == [0.0, 0.0]


def test_large_catalogues_are_scored_at_the_candidates_only(
    retrievers: dict[str, Retriever], checkerboard: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, log = checkerboard
    histories = log.histories(np.arange(20))
    dense = CandidateGenerator(retrievers, ()).score(histories, request())
    monkeypatch.setattr("models.candidates.DENSE_ITEMS", 5)
    gathered = CandidateGenerator(retrievers, ()).score(histories, request())
    np.testing.assert_array_equal(gathered.items, dense.items)
    np.testing.assert_allclose(gathered.scores, dense.scores, atol=1e-5)


def test_a_batch_does_not_change_a_user(retrievers: dict[str, Retriever], checkerboard: Market) -> None:
    _, log = checkerboard
    generator = CandidateGenerator(retrievers, ("content",))
    together = generator.score(log.histories(np.arange(20)), request())
    alone = generator.score(log.histories([6]), request())
    width = alone.items.shape[1]
    np.testing.assert_array_equal(together.items[6, :width], alone.items[0])
    np.testing.assert_array_equal(together.scores[:, 6, :width], alone.scores[:, 0])


def test_histories_are_not_changed(retrievers: dict[str, Retriever], checkerboard: Market) -> None:
    _, log = checkerboard
    histories: Histories = log.histories([1, 2])
    before = histories.items.copy()
    CandidateGenerator(retrievers, ("content",)).score(histories, request())
    np.testing.assert_array_equal(histories.items, before)
