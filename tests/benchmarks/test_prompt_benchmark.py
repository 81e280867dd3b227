"""The benchmark of prompts, on blocks of items whose titles share a word."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.catalogue import Catalogue

if TYPE_CHECKING:
    from landed_data import LandedData

COLOURS = ("red", "blue", "green", "item")
KINDS = ("lipstick", "polish", "shampoo", "hair", "nails", "lips", "for lips", "for hair")


def test_a_model_that_was_never_trained_is_compared_with_the_proposed_order(
    data: "LandedData", tiny_encoder: Path
) -> None:
    import pandas as pd
    import prompt_scoring
    from text_path import rank_by_text

    ids = data.catalogue.item_ids.tolist()
    titles = [f"{COLOURS[row // 8]} {KINDS[row % 8]}" for row in range(len(ids))]
    catalogue = Catalogue.from_frame(pd.DataFrame({"item_id": ids, "title": titles}))
    landed = replace(data, catalogue=catalogue, texts=titles)
    split = landed.split("leave-one-out")
    holdout = split.test.sample(30, seed=1)
    vectors = np.repeat(np.eye(4, dtype=np.float32), 8, axis=0)
    proposed = rank_by_text(landed, split.train, holdout, vectors, top_k=4)
    assert proposed.shape == (30, 4)
    rows = list(prompt_scoring.rank(proposed, holdout, landed, split, str(tiny_encoder)))
    held = prompt_scoring.holds_target(proposed, holdout)
    assert held.any()
    for _, lists, _ in rows:
        assert np.array_equal(np.sort(lists, axis=1), np.sort(proposed, axis=1))
    assert not any(np.array_equal(rows[2][1][held], lists[held]) for _, lists, _ in rows[:2])
    facts = prompt_scoring.measure(iter(rows), holdout, landed, split)
    recall = {name: row["recall@10"]["value"] for name, row in facts["rows"].items()}
    assert recall == dict.fromkeys(recall, float(held.mean()))
    assert set(facts["rows"]["prompt"]["against"]) == {"proposed", "shuffled"}
    assert facts["rows"]["proposed"]["ndcg@10"]["value"] != facts["rows"]["prompt"]["ndcg@10"]["value"]
