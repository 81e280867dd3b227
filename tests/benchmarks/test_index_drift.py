import numpy as np
import pytest

from models.vector_index import IndexConfig

INVERTED = IndexConfig(exact_below=10, recall_target=0.9)


def test_every_change_is_measured_beside_an_index_that_is_built_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    import index_drift

    monkeypatch.setattr(index_drift, "SHARES", (0.0, 0.5))
    for change in index_drift.CHANGES:
        start, end = index_drift.drift(change, items=600, topics=20, dimension=8, spread=0.8, config=INVERTED)
        assert (start["share"], end["share"], end["change"]) == (0.0, 0.5, change)
        assert start["recall"] == start["recall_anew"]
        assert 0.6 < min(end["recall"], end["recall_anew"]) <= 1


def test_recall_counts_what_both_have() -> None:
    from index_drift import recall

    assert recall(np.array([[1, 2, -1], [7, 8, 9]]), np.array([[2, 1, 3], [1, 2, 3]])) == 0.3333
