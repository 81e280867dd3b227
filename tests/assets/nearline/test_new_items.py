"""An item with nothing but a text reaches the users whom it fits, and leaves them when it is withdrawn."""

import shutil
from datetime import datetime
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from assets.artifacts import ArtifactStore
from assets.domain import load_domain
from assets.embedding_updates import refresh_embeddings
from assets.encoder_stages import ENCODER_KIND
from assets.item_changes import ItemChanges
from assets.nearline_watch import LakeWatch
from assets.pseudonyms import pseudonymise
from assets.resources import ArtifactResource
from assets.streams.landing import LandingSource
from models.item_text import render_item_text, text_hashes
from models.language_model import TextEncoder
from models.recommender_config import RecommenderConfig
from models.schema import ITEM_TEXTS
from orchestration.nearline_lane import open_lane, open_watch

from .market import train

NOW = datetime(2026, 1, 8, 12)
EVEN = {pseudonymise(f"u{user:02d}", "freshet-demo-key") for user in range(0, 20, 2)}


def _take(market: Any, watch: LakeWatch, name: str, *rows: str) -> None:
    """Land a file of items and take it in."""
    file = market.settings.landing_path / "items" / name
    file.write_text("\n".join(["item_id,title,available_until", *rows, ""]))
    settings = market.settings
    source = LandingSource(
        market.lake, settings.landing_path, settle_seconds=-1e9, max_bytes=10**7, clock=lambda: NOW, kind="items"
    )
    source.resume({})
    delivery = source.poll(1_000, 0)
    open_lane(settings, watch, now=lambda: NOW).process(delivery, received_at=NOW, epoch=1)


def _holders(market: Any, item: str) -> set[str]:
    sql = "SELECT user_id FROM serving.top_k_items WHERE item_id = ?"
    return set(market.lake.frame(sql, [item])["user_id"])


def _watch(market: Any, users: int) -> LakeWatch:
    return open_watch(market.settings.model_copy(update={"nearline_new_item_users": users}))


def test_a_new_item_reaches_those_whom_it_fits_and_leaves_them_again(text_market: Any) -> None:
    watch = _watch(text_market, 4)
    _take(text_market, watch, "1.csv", "i99,red lipstick for nails,")
    holders = _holders(text_market, "i99")
    assert len(holders) == 4
    assert holders < EVEN
    _take(text_market, watch, "2.csv", "i99,red lipstick for nails,2026-01-02")
    assert not _holders(text_market, "i99")


def test_after_a_restart_an_item_that_the_warehouse_lacks_is_known(text_market: Any) -> None:
    _take(text_market, _watch(text_market, 0), "1.csv", "i99,red lipstick for nails,")
    assert not _holders(text_market, "i99")
    watch = _watch(text_market, 4)
    open_lane(text_market.settings, watch, now=lambda: NOW).process(None, received_at=NOW, epoch=1)
    assert len(_holders(text_market, "i99")) == 4
    index = watch.refresh().server.index
    assert (index.count, index.search("content", index_vectors(watch), 21).shape) == (21, (1, 21))


def test_a_text_that_was_encoded_once_needs_no_encoder_at_the_next_start(text_market: Any) -> None:
    _take(text_market, _watch(text_market, 0), "1.csv", "i99,red lipstick for nails,")
    before = _watch(text_market, 0).refresh().server.recommender.catalogue
    shutil.rmtree(text_market.settings.artifacts_path / ENCODER_KIND)
    after = open_watch(text_market.settings, is_ready_for_texts=False).refresh().server.recommender.catalogue
    assert after.item_ids.tolist()[-1] == "i99"
    np.testing.assert_array_equal(after.embeddings, before.embeddings)


def test_only_items_that_the_warehouse_has_otherwise_are_applied_to_a_server(market: Any) -> None:
    lake, artifacts = market.lake, ArtifactResource(path=str(market.settings.artifacts_path))
    watch = open_watch(market.settings)
    watch.refresh()
    rules, items = watch.rules, ItemChanges(lake, load_domain(market.settings.domain), artifacts)
    _take(market, watch, "1.csv", "i98,old,2026-01-02", "i99,red lipstick for nails,")
    before = lake.current_snapshot()
    assert items.unbuilt(rules, before) == ["i98", "i99"]

    def build(connection: duckdb.DuckDBPyConnection) -> None:
        connection.register("made", rules.items(lake.frame("SELECT * FROM raw.items WHERE item_id = 'i98'")))
        connection.execute("INSERT INTO marts.items BY NAME SELECT *, 0 AS count_interactions FROM made")
        connection.unregister("made")

    built = lake.write(build, message="built").snapshot
    assert items.unbuilt(rules, built) == ["i99"]
    assert items.unbuilt(rules, before) == ["i98", "i99"]


def index_vectors(watch: LakeWatch) -> Any:
    """Vector of the first item, as a query."""
    return watch.refresh().server.recommender.item_vectors()["content"][:1]


def test_an_item_without_a_text_is_known_and_fits_nobody(text_market: Any) -> None:
    watch = _watch(text_market, 4)
    _take(text_market, watch, "1.csv", "i99,,")
    assert not _holders(text_market, "i99")
    assert "i99" in watch.refresh().server.recommender.catalogue.item_ids


@pytest.mark.parametrize("title", ["blue shampoo for hair", "red lipstick for lips"])
def test_a_changed_text_moves_the_vector(text_market: Any, title: str) -> None:
    watch = _watch(text_market, 4)
    catalogue = watch.refresh().server.recommender.catalogue
    _take(text_market, watch, "1.csv", f"i00,{title},")
    changed = watch.refresh().server.recommender.catalogue
    twin = 1 if title.startswith("blue") else 2
    # Brands differ between the items and count in the text, so only the nearest twin is asked for.
    near = changed.embeddings @ changed.embeddings[0]
    assert near[twin] >= near[3 - twin]
    assert (changed.count, catalogue.count) == (20, 20)


SHAMPOOS = [f"i{number:02d},blue shampoo for hair," for number in range(9)]
"""Nine of twenty items; each leaves the label of its former text empty."""


def _labels(watch: LakeWatch) -> tuple[int, int]:
    """Items that the index can find, and its labels."""
    server = watch.refresh().server
    return server.index.count, len(server.index.catalogue_rows(server.recommender.catalogue.item_ids))


def test_an_index_that_changed_items_have_worn_is_built_anew(text_market: Any) -> None:
    watch = _watch(text_market, 0)
    _take(text_market, watch, "1.csv", *SHAMPOOS[:8])
    assert _labels(watch) == (20, 28)
    _take(text_market, watch, "2.csv", SHAMPOOS[8])
    assert _labels(watch) == (20, 20)
    server = watch.refresh().server
    (found,) = server.index.search("content", index_vectors(watch), 20)
    scores = index_vectors(watch) @ server.recommender.item_vectors()["content"].T
    np.testing.assert_allclose(scores[0][found], np.sort(scores[0])[::-1], atol=1e-5)
    assert _labels(_watch(text_market, 0)) == (20, 20)


def test_worn_inverted_lists_are_left_to_the_next_refresh(text_market: Any, caplog: pytest.LogCaptureFixture) -> None:
    names = {"retrievers": ["popularity", "content"], "candidates_per_retriever": 10, "fusion": {"evaluations": 5}}
    train(text_market, RecommenderConfig.from_dict({**names, "index": {"exact_below": 10}}))
    watch = _watch(text_market, 0)
    _take(text_market, watch, "1.csv", *SHAMPOOS)
    _take(text_market, watch, "2.csv", "i00,red lipstick for nails,")
    assert _labels(watch) == (20, 30)
    told = [record.message for record in caplog.records if record.name == "assets.prepared_server"]
    assert told == ["changed items have left many labels of the index empty; `freshet run` builds it anew"]


def test_a_withdrawn_item_stays_in_the_index_and_comes_back(text_market: Any) -> None:
    watch = _watch(text_market, 0)
    held = _holders(text_market, "i02")
    _take(text_market, watch, "1.csv", "i02,red lipstick for lips,2026-01-02")
    assert (len(held) > 0, _holders(text_market, "i02"), _labels(watch)) == (True, set(), (20, 21))
    _take(text_market, watch, "2.csv", "i02,red lipstick for lips,")
    server = watch.refresh().server
    catalogue, own = server.recommender.catalogue, server.recommender.item_vectors()["content"]
    ((nearest,),) = server.index.search("content", own[2:3], 1)
    assert catalogue.item_ids[server.index.catalogue_rows(catalogue.item_ids)[nearest]] == "i02"
    assert (_labels(watch), watch.banned) == ((20, 22), frozenset())


def test_lists_with_a_new_item_equal_those_of_the_batch_lane(text_market: Any) -> None:
    _take(text_market, _watch(text_market, 20), "1.csv", "i99,red lipstick for nails,")
    by_delta, lake = text_market.lists(), text_market.lake
    sql = "INSERT INTO marts.items (item_id, title, count_interactions) VALUES ('i99', 'red lipstick for nails', 0)"
    lake.write(lambda connection: connection.execute(sql), message="built")
    items = lake.frame("SELECT * FROM marts.items ORDER BY item_id")
    texts = render_item_text(items)
    frame = pd.DataFrame({"item_id": items["item_id"], "text": texts, "text_hash": text_hashes(texts)})
    lake.replace_table(ITEM_TEXTS, frame)
    version = lake.frame("SELECT any_value(encoder_version) AS v FROM features.item_embeddings")["v"].iloc[0]
    folder = ArtifactStore(text_market.settings.artifacts_path).path(ENCODER_KIND, version)
    encoded = refresh_embeddings(lake, version, TextEncoder.load(folder, max_tokens=48).encode).encoded
    text_market.publish()
    assert encoded == 1
    assert text_market.lists() == by_delta
    assert len(_holders(text_market, "i99")) == 20
