"""The contract that every retriever obeys, and the array operations they share."""

import copy
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from models.als import ALSConfig, ALSRetriever
from models.bpr import BPRConfig, BPRRetriever
from models.catalogue import Catalogue
from models.co_occurrence import CoOccurrenceRetriever
from models.content import ContentRetriever
from models.ease import EASEConfig, EASERetriever
from models.errors import NotFittedError
from models.generative_config import GenerativeConfig
from models.graph import GraphConfig, GraphRetriever
from models.interactions import Histories, InteractionLog, empty_histories
from models.popularity import PopularityRetriever
from models.repeats import RepeatRetriever
from models.retriever import Retriever, VectorRetriever, realign_square, recency
from models.sequence_config import SequenceConfig
from models.sequence_linear import SequenceLinearConfig, SequenceLinearRetriever
from models.top_rows import top_rows
from models.two_tower_config import TwoTowerConfig
from models.user_knn import UserKNNConfig, UserKNNRetriever

Market = tuple[Catalogue, InteractionLog]


def _sequence() -> Retriever:
    from models.sequence_retriever import SequenceRetriever

    config = SequenceConfig(embedding_size=8, blocks=1, heads=1, max_length=12, epochs=1, patience=0)
    return SequenceRetriever(config, device="cpu")


def _two_tower() -> Retriever:
    from models.two_tower import TwoTowerRetriever

    config = TwoTowerConfig(embedding_size=4, hidden=8, steps=4, batch_size=16, held_out=8, history_length=12)
    return TwoTowerRetriever(config, device="cpu")


def _generative() -> Retriever:
    from models.generative_retriever import GenerativeRetriever

    config = GenerativeConfig(
        levels=2, codes=2, embedding_size=8, layers=1, heads=2, steps=4, batch_size=8, history_items=4, beams=32
    )
    return GenerativeRetriever(config, device="cpu")


MAKERS: dict[str, Callable[[], Retriever]] = {
    "popularity": PopularityRetriever,
    "repeat": RepeatRetriever,
    "co_occurrence": CoOccurrenceRetriever,
    "content": ContentRetriever,
    "als": lambda: ALSRetriever(ALSConfig(embedding_size=4)),
    "ease": lambda: EASERetriever(EASEConfig(regularization=1.0)),
    "sequence": _sequence,
    "two_tower": _two_tower,
    "generative": _generative,
    "user_knn": UserKNNRetriever,
    "user_knn_centred": lambda: UserKNNRetriever(UserKNNConfig(similarity="pearson", prediction="centred")),
    "bpr": lambda: BPRRetriever(BPRConfig(embedding_size=4, epochs=100, learning_rate=0.1)),
    # Without brands: those of the checkerboard mix even and odd items.
    "graph": lambda: GraphRetriever(GraphConfig(brand_share=0)),
    "sequence_linear": lambda: SequenceLinearRetriever(SequenceLinearConfig(regularization=1.0)),
}


@pytest.fixture(params=list(MAKERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def fitted(name: str, checkerboard: Market) -> Retriever:
    catalogue, log = checkerboard
    retriever = MAKERS[name]()
    retriever.fit(log, catalogue, seed=0)
    return retriever


def everyone(log: InteractionLog) -> Histories:
    return log.histories(np.arange(log.user_count))


def with_item(catalogue: Catalogue, item_id: str, like: int) -> Catalogue:
    """The catalogue with one more item at its end, whose text is that of item row `like`."""
    assert catalogue.embeddings is not None
    return Catalogue(
        item_ids=np.append(catalogue.item_ids, item_id),
        titles=np.append(catalogue.titles, "New"),
        categories=np.append(catalogue.categories, ""),
        brands=np.append(catalogue.brands, ""),
        available_from=np.append(catalogue.available_from, catalogue.available_from[0]),
        available_until=np.append(catalogue.available_until, catalogue.available_until[0]),
        embeddings=np.vstack([catalogue.embeddings, catalogue.embeddings[like]]),
    )


def with_repeats(market: Market) -> Market:
    """The same market where every second interaction has the item before it, and all weights differ."""
    catalogue, log = market
    rows = log.item_rows.copy()
    rows[1::2] = rows[:-1:2]
    weights = np.linspace(1, 2, len(rows), dtype=np.float32)
    return catalogue, replace(log, item_rows=rows, weights=weights)


def only_items(catalogue: Catalogue, rows: slice) -> Catalogue:
    arrays = {one.name: getattr(catalogue, one.name) for one in fields(Catalogue)}
    kept: dict[str, Any] = {name: None if array is None else array[rows] for name, array in arrays.items()}
    return Catalogue(**kept)


def test_scores_have_one_finite_row_per_user(fitted: Retriever, name: str, checkerboard: Market) -> None:
    catalogue, log = checkerboard
    scores = fitted.score(everyone(log))
    assert name.startswith(fitted.name)
    assert scores.shape == (20, catalogue.count)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    "name", ["co_occurrence", "content", "als", "ease", "user_knn", "bpr", "sequence_linear", "graph"]
)
def test_the_planted_next_item_comes_first_among_the_unseen(fitted: Retriever, checkerboard: Market) -> None:
    _, log = checkerboard
    histories = everyone(log)
    scores = fitted.score(histories).copy()
    users, places = np.nonzero(histories.items >= 0)
    scores[users, histories.items[users, places]] = -np.inf
    np.testing.assert_array_equal(top_rows(scores, 1)[:, 0], np.arange(20))


def test_a_user_alone_scores_as_in_a_batch(fitted: Retriever, checkerboard: Market) -> None:
    _, log = checkerboard
    together = fitted.score(everyone(log))
    for user in (0, 7, 19):
        np.testing.assert_array_equal(fitted.score(log.histories([user]))[0], together[user])


def test_more_padding_changes_nothing(fitted: Retriever, checkerboard: Market) -> None:
    _, log = checkerboard
    own = log.histories([3])
    wide = Histories(
        items=np.pad(own.items, ((0, 0), (5, 0)), constant_values=-1),
        weights=np.pad(own.weights, ((0, 0), (5, 0))),
        event_ats=np.pad(own.event_ats, ((0, 0), (5, 0))),
        segments=own.segments,
    )
    np.testing.assert_array_equal(fitted.score(wide), fitted.score(own))


def test_an_empty_history_scores_zero_except_for_popularity(fitted: Retriever, name: str) -> None:
    scores = fitted.score(empty_histories(np.array([""], dtype=object)))
    assert bool(scores.any()) == (name == "popularity")


def test_inputs_stay_unchanged(name: str, checkerboard: Market) -> None:
    catalogue, log = with_repeats(checkerboard)
    histories = everyone(log)
    before: tuple[Any, ...] = copy.deepcopy((catalogue, log, histories))
    retriever = MAKERS[name]()
    retriever.fit(log, catalogue, seed=0)
    retriever.score(histories)
    for old, new in zip(before, (catalogue, log, histories), strict=True):
        for one in fields(old):
            np.testing.assert_array_equal(getattr(old, one.name), getattr(new, one.name))


def test_fitting_twice_gives_the_same_scores(fitted: Retriever, name: str, checkerboard: Market) -> None:
    catalogue, log = checkerboard
    again = MAKERS[name]()
    again.fit(log, catalogue, seed=0)
    np.testing.assert_array_equal(again.score(everyone(log)), fitted.score(everyone(log)))


def test_a_saved_retriever_scores_as_before(fitted: Retriever, checkerboard: Market, tmp_path: Path) -> None:
    _, log = checkerboard
    fitted.save(tmp_path / "one")
    loaded = type(fitted).load(tmp_path / "one")
    np.testing.assert_array_equal(loaded.score(everyone(log)), fitted.score(everyone(log)))
    loaded.save(tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_an_unfitted_retriever_says_so(name: str, checkerboard: Market) -> None:
    _, log = checkerboard
    with pytest.raises(NotFittedError):
        MAKERS[name]().score(everyone(log))


def test_loading_from_an_empty_folder_says_so(name: str, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        type(MAKERS[name]()).load(tmp_path)


def test_a_new_item_leaves_the_others_as_they_are(fitted: Retriever, name: str, checkerboard: Market) -> None:
    catalogue, log = checkerboard
    before = fitted.score(everyone(log))
    fitted.refresh(with_item(catalogue, "j00", like=0))
    after = fitted.score(everyone(log))
    np.testing.assert_allclose(after[:, :20], before, rtol=1e-5, atol=1e-6)
    assert bool(after[:, 20].any()) == (name in {"content", "sequence", "two_tower", "generative"})


def test_a_removed_item_moves_the_rows_of_the_others(fitted: Retriever, checkerboard: Market) -> None:
    catalogue, log = checkerboard
    odd_user = log.histories([1])  # has none of the even items, so item 0 plays no part in the history
    before = fitted.score(odd_user)
    fitted.refresh(only_items(catalogue, slice(1, None)))
    moved = replace(odd_user, items=np.where(odd_user.items >= 0, odd_user.items - 1, -1).astype(np.int32))
    # ALS and BPR fold users in against all items, so one item less moves their scores a little.
    np.testing.assert_allclose(fitted.score(moved), before[:, 1:], atol=0.1 if fitted.name == "bpr" else 0.01)


@pytest.mark.parametrize(
    "name",
    ["popularity", "repeat", "co_occurrence", "content", "als", "ease", "user_knn", "bpr", "sequence_linear", "graph"],
)
def test_one_item_and_one_user_are_enough(name: str, checkerboard: Market) -> None:
    catalogue, _ = checkerboard
    only = only_items(catalogue, slice(0, 1))
    log = InteractionLog(
        user_ids=np.array(["u"], dtype=object),
        segments=np.array([""], dtype=object),
        start=np.array([0, 1]),
        item_rows=np.array([0], dtype=np.int32),
        event_ats=np.array([5]),
        weights=np.ones(1, dtype=np.float32),
        item_count=1,
    )
    retriever = MAKERS[name]()
    retriever.fit(log, only, seed=0)
    scores = retriever.score(log.histories([0]))
    assert scores.shape == (1, 1)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", ["content", "als", "bpr", "sequence", "two_tower"])
def test_the_score_of_a_vector_retriever_is_a_dot_product(fitted: Retriever, checkerboard: Market) -> None:
    _, log = checkerboard
    assert isinstance(fitted, VectorRetriever)
    product = fitted.user_vectors(everyone(log)) @ fitted.item_vectors().T
    np.testing.assert_allclose(fitted.score(everyone(log)), product, rtol=1e-5, atol=1e-6)


def test_recency_counts_places_from_the_end() -> None:
    histories = Histories(
        items=np.array([[-1, 4, 5]], dtype=np.int32),
        weights=np.ones((1, 3), dtype=np.float32),
        event_ats=np.zeros((1, 3), dtype=np.int64),
        segments=np.array([""], dtype=object),
    )
    np.testing.assert_allclose(recency(histories, 2.0), [[0, np.exp(-0.5), 1]], rtol=1e-6)
    np.testing.assert_array_equal(recency(histories, 0.0), [[0, 1, 1]])


def test_unordered_ties_share_their_mean_age() -> None:
    histories = Histories(
        items=np.array([[-1, -1, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6]], dtype=np.int32),
        weights=np.ones((2, 6), dtype=np.float32),
        event_ats=np.array([[0, 0, 0, 8, 8, 9], [3, 3, 3, 3, 9, 9]], dtype=np.int64),
        segments=np.array(["", ""], dtype=object),
    )
    ages = [[3, 1.5, 1.5, 0], [3.5, 3.5, 3.5, 3.5, 0.5, 0.5]]
    found = recency(histories, 2.0, ties="unordered")
    np.testing.assert_allclose(found[0], [0, 0, *np.exp(-np.array(ages[0]) / 2)], rtol=1e-6)
    np.testing.assert_allclose(found[1], np.exp(-np.array(ages[1]) / 2), rtol=1e-6)


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [0, -1, 1, 2, 3], [3, 0, 2], [-1, -1], [2, -1, 3, -1, 1]])
def test_an_item_item_matrix_follows_its_items(rows: list[int]) -> None:
    dense = np.random.default_rng(5).integers(0, 3, (4, 4)).astype(np.float32)
    dense[1] = 0
    moved = realign_square(sparse.csr_matrix(dense), np.array(rows, dtype=np.int32))
    padded = np.pad(dense, (0, 1))  # the last row and column are those of a new item, -1
    np.testing.assert_array_equal(moved.toarray(), padded[np.ix_(rows, rows)])
    assert moved.has_sorted_indices
    assert moved.dtype == np.float32
