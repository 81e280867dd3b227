from pathlib import Path

import numpy as np
import orjson
import pytest

from models.errors import ConfigurationError, DataError, NotFittedError
from models.index_files import FACTS_FILE, is_readable, read_facts
from models.interactions import FloatArray, LongArray
from models.vector_index import IndexConfig, ItemIndex

EXACT = IndexConfig()
INVERTED = IndexConfig(exact_below=10, measured_k=10, recall_target=0.9)


def vectors(count: int, dimension: int = 8, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).standard_normal((count, dimension), dtype=np.float32)


def ids(count: int) -> list[str]:
    return [f"i{number:04d}" for number in range(count)]


def built(count: int, config: IndexConfig = EXACT) -> ItemIndex:
    own = {"content": vectors(count), "als": vectors(count, 4, seed=1)}
    return ItemIndex.build(own, ids(count), config=config, seed=0, model_version="m1", snapshot=7)


def test_exact_search_equals_sorting_the_scores() -> None:
    queries = vectors(70, seed=2)
    found = built(300).search("content", queries, 5)
    np.testing.assert_array_equal(found, np.argsort(-(queries @ vectors(300).T), axis=1)[:, :5])


@pytest.mark.parametrize("config", [EXACT, INVERTED])
def test_a_query_alone_finds_what_it_finds_in_a_batch(config: IndexConfig) -> None:
    index, queries = built(2_000, config), vectors(70, seed=2)
    together = index.search("content", queries, 20)
    for row in (0, 69):
        np.testing.assert_array_equal(index.search("content", queries[row : row + 1], 20)[0], together[row])


def test_more_than_the_catalogue_gives_the_catalogue() -> None:
    assert sorted(built(3).search("content", vectors(1), 50)[0]) == [0, 1, 2]


def test_one_item_is_found() -> None:
    assert built(1).search("als", vectors(2, 4), 5).tolist() == [[0], [0]]


def test_no_items_are_refused() -> None:
    with pytest.raises(DataError, match="no items"):
        built(0)


@pytest.mark.parametrize("config", [EXACT, INVERTED])
def test_only_allowed_labels_are_found(config: IndexConfig) -> None:
    allowed = np.zeros(500, dtype=bool)
    allowed[[3, 400, 17]] = True
    index = built(500, config)
    index._probes = {name: 10_000 for name in index._probes}
    found = index.search("content", vectors(4, seed=2), 10, allowed=allowed)
    assert [sorted(row[row >= 0]) for row in found] == [[3, 17, 400]] * 4


def test_inverted_lists_reach_the_recall_target_without_probing_all() -> None:
    index = built(5_000, INVERTED)
    assert index.recalls["content"] >= 0.9
    assert 1 < index._probes["content"] < index._indexes["content"].nlist
    assert index.measure_recall("content", vectors(50, seed=9)) > 0.8
    assert built(50).measure_recall("content", vectors(50)) == 1.0


@pytest.mark.parametrize("config", [EXACT, INVERTED])
def test_an_added_item_is_found_and_a_removed_one_is_not(config: IndexConfig) -> None:
    index = built(400, config)
    index.add(["new"], {"content": 100 * vectors(1, seed=5), "als": vectors(1, 4)})
    rows = index.catalogue_rows(np.array([*ids(400), "new"], dtype=object))
    best = index.search("content", vectors(1, seed=5), 1)[0, 0]
    assert rows[best] == 400
    index.remove(["new", "never there"])
    assert index.count == 400
    assert best not in index.search("content", vectors(1, seed=5), 400)


def test_adding_an_item_again_replaces_it() -> None:
    index = built(20)
    index.add(["i0003"], {"content": 100 * vectors(1, seed=5), "als": vectors(1, 4)})
    rows = index.catalogue_rows(np.array(ids(20), dtype=object))
    found = rows[index.search("content", vectors(1, seed=5), 20)[0]]
    assert found[0] == 3
    assert sorted(found) == list(range(20))


def test_an_item_is_added_to_every_index_or_none() -> None:
    index = built(5)
    with pytest.raises(DataError, match="als"):
        index.add(["new"], {"content": vectors(1)})
    with pytest.raises(DataError, match="dimensions"):
        index.add(["new"], {"content": vectors(1, 9), "als": vectors(1, 4)})
    assert index.count == 5


def test_labels_follow_another_order_of_the_catalogue() -> None:
    rows = built(3).catalogue_rows(np.array(["i0002", "x", "i0000"], dtype=object))
    assert rows.tolist() == [2, -1, 0]


@pytest.mark.parametrize("config", [EXACT, INVERTED])
def test_a_saved_index_is_the_same(config: IndexConfig, tmp_path: Path) -> None:
    index = built(300, config)
    version = index.save(tmp_path / "one")
    loaded = ItemIndex.load(tmp_path / "one")
    assert loaded.save(tmp_path / "two") == version == loaded.content_version()
    assert (loaded.model_version, loaded.snapshot, loaded.names) == ("m1", 7, ["als", "content"])
    queries = vectors(5, seed=2)
    np.testing.assert_array_equal(loaded.search("content", queries, 9), index.search("content", queries, 9))
    loaded.add(["new"], {"content": vectors(1), "als": vectors(1, 4)})
    assert loaded.count == 301


def test_another_content_has_another_version(tmp_path: Path) -> None:
    assert built(300).save(tmp_path / "one") != built(301).save(tmp_path / "two")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    built(10).save(tmp_path)
    (tmp_path / "als.faiss").write_bytes(b"garbage")
    with pytest.raises(DataError, match=r"als\.faiss is missing or damaged"):
        ItemIndex.load(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="item_index"):
        ItemIndex.load(tmp_path)


def test_vectors_that_are_not_finite_are_refused() -> None:
    broken = vectors(3)
    broken[1, 2] = np.nan
    with pytest.raises(DataError, match="row 1"):
        ItemIndex.build({"content": broken}, ids(3), config=EXACT, seed=0)


def test_an_unknown_retriever_is_named() -> None:
    with pytest.raises(NotFittedError, match="sequence"):
        built(3).search("sequence", vectors(1), 1)


def test_the_recall_target_is_checked() -> None:
    with pytest.raises(ConfigurationError, match="recall_target"):
        IndexConfig(recall_target=0)


def test_an_index_with_many_gaps_is_worn() -> None:
    index, own = built(10), vectors(10)
    assert not index.is_worn({"content": own})
    index.remove(ids(3)[:2])
    assert not index.has_many_gaps
    index.remove(ids(3))
    assert index.has_many_gaps
    assert index.is_worn({"content": own})


def test_an_index_that_finds_too_little_is_worn() -> None:
    index = built(2_000, INVERTED)
    asked = {"content": vectors(2_000), "als": vectors(2_000, 4, seed=1)}
    assert not index.is_worn(asked)
    index._probes = dict.fromkeys(index.names, 1)
    assert index.is_worn(asked)


@pytest.mark.parametrize("kept", [0.5, 0.1])
def test_recall_holds_where_most_items_may_not_be_found(kept: float) -> None:
    index, own = built(5_000, INVERTED), vectors(5_000)
    allowed = np.random.default_rng(4).random(5_000) < kept
    queries = vectors(200, seed=2)
    found = index.search("content", queries, 10, allowed=allowed)
    exact = np.argsort(np.where(allowed, -(queries @ own.T), np.inf), axis=1)[:, :10]
    shared = [len(np.intersect1d(a, b)) for a, b in zip(found, exact, strict=True)]
    assert np.mean(shared) / 10 > 0.85


def test_queries_of_zeros_say_nothing_about_recall() -> None:
    own = {"content": vectors(5_000)}
    own["content"][1_000:] = 0
    half_known = np.concatenate([vectors(300, seed=2), np.zeros((300, 8), dtype=np.float32)])
    index = ItemIndex.build(own, ids(5_000), config=INVERTED, seed=0, queries={"content": half_known})
    assert index.recalls["content"] >= 0.9
    assert index._probes["content"] < index._indexes["content"].nlist
    assert index.measure_recall("content", np.zeros((3, 8), dtype=np.float32)) == 1.0


def half_known(count: int) -> dict[str, FloatArray]:
    """Every other item has no vector in the first space, none has one in the second."""
    own = {"als": vectors(count), "bpr": np.zeros((count, 4), dtype=np.float32)}
    own["als"][::2] = 0
    return own


def probing_all(index: ItemIndex) -> ItemIndex:
    index._probes = dict.fromkeys(index._probes, 10_000)
    return index


def found_ids(index: ItemIndex, name: str, queries: FloatArray, count: int = 5_000) -> list[list[str]]:
    return [index._item_ids[row[row >= 0]].tolist() for row in index.search(name, queries, count)]


def largest(own: FloatArray, queries: FloatArray, count: int) -> LongArray:
    scores = np.where(own.any(axis=1), queries @ own.T, -np.inf)
    return np.argsort(-scores, axis=1)[:, :count]


def test_inverted_lists_leave_vectors_of_zeros_out_and_the_exact_search_keeps_them() -> None:
    own, queries = half_known(400), vectors(3, seed=2)
    exact = ItemIndex.build(own, ids(400), config=EXACT, seed=0)
    inverted = ItemIndex.build(own, ids(400), config=INVERTED, seed=0)
    assert (exact.count, inverted.count) == (400, 400)
    assert exact.search("als", queries, 500).shape == (3, 400)
    assert inverted.search("als", queries, 500).shape == (3, 200)
    np.testing.assert_array_equal(probing_all(inverted).search("als", queries, 20), largest(own["als"], queries, 20))
    assert exact.search("bpr", vectors(3, 4), 5).tolist() == [[0, 1, 2, 3, 4]] * 3
    assert inverted.search("bpr", vectors(3, 4), 5).shape == (3, 0)


def test_recall_counts_items_with_a_vector_only() -> None:
    own = half_known(5_000)
    index = ItemIndex.build(own, ids(5_000), config=INVERTED, seed=0)
    assert index.recalls["als"] >= 0.9
    assert index.recalls["bpr"] == index.measure_recall("bpr", vectors(9, 4)) == 1.0
    few = {"als": own["als"].copy()}
    few["als"][7:] = 0
    assert ItemIndex.build(few, ids(5_000), config=INVERTED, seed=0).recalls == {"als": 1.0}
    assert not index.is_worn(own)
    index._probes["als"] = 1
    assert index.is_worn(own)


def test_it_does_not_matter_whether_an_item_was_added_or_built() -> None:
    own, queries = half_known(1_000), vectors(5, seed=2)
    whole = probing_all(ItemIndex.build(own, ids(1_000), config=INVERTED, seed=0))
    first = {name: rows[:700] for name, rows in own.items()}
    first["als"] = np.roll(first["als"], 1, axis=0)
    parts = probing_all(ItemIndex.build(first, ids(700), config=INVERTED, seed=0))
    parts.add(ids(1_000)[300:], {name: rows[300:] for name, rows in own.items()})
    parts.add(ids(300), {name: rows[:300] for name, rows in own.items()})
    assert found_ids(parts, "als", queries) == found_ids(whole, "als", queries)
    assert parts.count == whole.count == 1_000
    for index in (parts, whole):
        index.remove([*ids(20), "never there"])
        index.remove(ids(20))
    assert found_ids(parts, "als", queries) == found_ids(whole, "als", queries)
    assert [len(row) for row in found_ids(parts, "als", queries)] == [490] * 5


def test_a_loaded_index_knows_which_labels_have_a_vector(tmp_path: Path) -> None:
    own, queries = half_known(2_000), vectors(5, seed=2)
    index = ItemIndex.build(own, ids(2_000), config=INVERTED, seed=0)
    index.remove(ids(50))
    assert index.save(tmp_path) == ItemIndex.load(tmp_path).content_version()
    loaded = ItemIndex.load(tmp_path)
    allowed = np.random.default_rng(4).random(2_000) < 0.2
    for each in (index, loaded):
        each.remove(ids(90))
        each.add(["new"], {"als": vectors(1, seed=5), "bpr": np.zeros((1, 4), dtype=np.float32)})
    more = np.append(allowed, True)
    np.testing.assert_array_equal(
        loaded.search("als", queries, 9, allowed=more), index.search("als", queries, 9, allowed=more)
    )
    np.testing.assert_array_equal(loaded.search("als", queries, 9), index.search("als", queries, 9))


def test_a_space_of_zeros_takes_vectors_later(tmp_path: Path) -> None:
    ItemIndex.build(half_known(100), ids(100), config=INVERTED, seed=0).save(tmp_path)
    index = ItemIndex.load(tmp_path)
    assert index.search("bpr", vectors(2, 4), 5).shape == (2, 0)
    late = {"als": vectors(2), "bpr": vectors(2, 4)}
    index.add(["one", "two"], late)
    best = np.array(["one", "two"])[np.argsort(-(vectors(3, 4, seed=8) @ late["bpr"].T), axis=1)]
    assert found_ids(index, "bpr", vectors(3, 4, seed=8)) == best.tolist()


def test_users_without_history_leave_recall_to_the_items() -> None:
    own, nobody = {"als": vectors(5_000)}, {"als": np.zeros((40, 8), dtype=np.float32)}
    index = ItemIndex.build(own, ids(5_000), config=INVERTED, seed=0, queries=nobody)
    assert index.recalls["als"] >= 0.9
    assert index._probes["als"] > 1


def test_inverted_lists_of_an_earlier_version_are_to_be_built_anew(tmp_path: Path) -> None:
    for config, was_readable in ((EXACT, True), (INVERTED, False)):
        built(300, config).save(tmp_path)
        facts = read_facts(tmp_path)
        assert is_readable(facts)
        del facts["lengths"]
        (tmp_path / FACTS_FILE).write_bytes(orjson.dumps(facts))
        assert is_readable(read_facts(tmp_path)) == was_readable
    with pytest.raises(NotFittedError, match="earlier version"):
        ItemIndex.load(tmp_path)
