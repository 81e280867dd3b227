"""Which tokens may follow a prefix."""

import numpy as np

from models.prefix_trie import PrefixTrie
from models.semantic_ids import NO_ID

TOKENS = np.array([[1, 0, 2], [0, 1, 0], [NO_ID] * 3, [1, 0, 0], [1, 2, 0]], dtype=np.int32)


def test_paths_lead_to_the_items() -> None:
    trie = PrefixTrie.build(TOKENS)
    for item in (0, 1, 3, 4):
        node = np.zeros(1, dtype=np.int64)
        for depth, token in enumerate(TOKENS[item]):
            assert trie.allowed(depth, node, 3)[0, token]
            node = trie.child(depth, node, np.array([token]))
        assert trie.items[node[0]] == item


def test_allowed_by_hand() -> None:
    trie = PrefixTrie.build(TOKENS)
    np.testing.assert_array_equal(trie.allowed(0, np.array([0]), 3), [[True, True, False]])
    np.testing.assert_array_equal(
        trie.allowed(1, np.array([0, 1, -1]), 3), [[False, True, False], [True, False, True], [False] * 3]
    )


def test_a_path_that_no_item_has_is_a_dead_end() -> None:
    trie = PrefixTrie.build(TOKENS)
    np.testing.assert_array_equal(trie.child(1, np.array([0, 1, -1]), np.array([2, 1, 0])), [-1, -1, -1])


def test_an_empty_trie_allows_nothing() -> None:
    trie = PrefixTrie.build(np.full((2, 3), NO_ID, dtype=np.int32))
    assert not trie.allowed(0, np.array([0]), 4).any()
    assert trie.child(0, np.array([0]), np.array([0])).tolist() == [-1]


def test_width_beyond_the_largest_token() -> None:
    many = np.random.default_rng(0).integers(0, 9, (60, 3)).astype(np.int32)
    many = np.unique(many, axis=0)
    trie = PrefixTrie.build(many)
    node = trie.child(0, np.zeros(len(many), np.int64), many[:, 0].astype(np.int64))
    node = trie.child(1, node, many[:, 1].astype(np.int64))
    node = trie.child(2, node, many[:, 2].astype(np.int64))
    np.testing.assert_array_equal(trie.items[node], np.arange(len(many)))
