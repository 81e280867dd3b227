"""What is counted over all interactions is counted once for each state of the tables."""

from typing import Any

import numpy as np
import pytest

import assets.champion
from assets.artifacts import ArtifactStore
from assets.champion import COUNTS_KEPT, COUNTS_KIND, load_champion
from models.recommender import Recommender


@pytest.fixture
def store(market: Any) -> ArtifactStore:
    """Where the market's models are."""
    return ArtifactStore(market.settings.artifacts_path)


def _counts(model: Recommender) -> dict[str, Any]:
    popularity, neighbours = (model.retrievers[name] for name in ("popularity", "co_occurrence"))
    return {
        "items": model.item_counts,
        "popularity": popularity.table()[1],  # type: ignore[attr-defined]
        "neighbours": neighbours.neighbours().toarray(),  # type: ignore[attr-defined]
    }


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(np.array_equal(values, other[name]) for name, values in one.items())


def _add_interactions(market: Any) -> None:
    """Each interaction of user 0 once more, as another user's."""
    sql = (
        "INSERT INTO features.training_interactions BY NAME SELECT * REPLACE ('x' AS user_id, event_id || 'x' AS "
        "event_id) FROM features.training_interactions WHERE user_id = (SELECT min(user_id) FROM marts.users)"
    )
    market.lake.write(lambda connection: connection.execute(sql), message="more")


def test_what_is_kept_equals_what_is_counted(market: Any, store: ArtifactStore, monkeypatch: Any) -> None:
    kept = load_champion(market.lake, store)
    with monkeypatch.context() as patch:
        # The log is not read where the counts are there.
        patch.setattr(assets.champion, "read_log", lambda *_, **__: pytest.fail("counted again"))
        assert _same(_counts(load_champion(market.lake, store)), _counts(kept))
    monkeypatch.setattr(assets.champion, "_kept_counts", lambda *_: None)
    assert _same(_counts(load_champion(market.lake, store)), _counts(kept))


def test_more_interactions_are_counted_at_once(market: Any, store: ArtifactStore) -> None:
    before = load_champion(market.lake, store)
    _add_interactions(market)
    after = load_champion(market.lake, store)
    assert after.item_counts.sum() > before.item_counts.sum()
    assert _same(_counts(load_champion(market.lake, store)), _counts(after))


def test_only_the_latest_counts_stay(market: Any, store: ArtifactStore) -> None:
    for _ in range(COUNTS_KEPT + 1):
        _add_interactions(market)
        load_champion(market.lake, store)
    kept = sorted((store.root / COUNTS_KIND).iterdir())
    assert len(kept) == COUNTS_KEPT
    latest = _counts(load_champion(market.lake, store))
    assert sorted((store.root / COUNTS_KIND).iterdir()) == kept
    # One that is being removed counts as not there.
    for folder in kept:
        (folder / "facts.json").unlink()
    assert _same(_counts(load_champion(market.lake, store)), latest)
