import json
import math

import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.errors import DataError
from models.evaluation import EvaluationResult, compare, evaluate, item_groups
from models.interactions import InteractionLog
from models.splitting import Holdout, split_by_time

ITEMS = ["a", "b", "c", "d"]  # a is the head, b and c the tail, d is cold
ROWS = [
    ("u1", "a", 1),
    ("u1", "b", 10),  # target of u1: tail
    ("u1", "d", 11),  # target of u1: cold
    ("u2", "a", 1),
    ("u2", "c", 2),
    ("u2", "b", 3),
    ("u3", "c", 4),
    ("u3", "a", 12),  # target of u3: head
    ("u4", "a", 2),
]


@pytest.fixture
def catalogue() -> Catalogue:
    frame = pd.DataFrame({"item_id": ITEMS, "category": ["soap", "soap", "oil", "oil"]})
    return Catalogue.from_frame(frame, np.eye(4, dtype=np.float32))


@pytest.fixture
def holdout() -> Holdout:
    frame = pd.DataFrame(ROWS, columns=["user_id", "item_id", "second"])
    frame["event_at"] = pd.to_datetime(frame["second"], unit="s")
    log = InteractionLog.from_frame(frame.assign(weight=1.0), ITEMS, {"u1": "north", "u3": "south"})
    return split_by_time(log, validation_from=8, test_from=9).test


def run(ranked: list[list[int]], holdout: Holdout, catalogue: Catalogue) -> EvaluationResult:
    lists = np.array(ranked, dtype=np.int32)
    return evaluate(lists, holdout, holdout.history, catalogue, ks=(1, 2), seed=0, bootstrap=50)


def test_overall_and_slices(holdout: Holdout, catalogue: Catalogue) -> None:
    result = run([[1, 2], [3, 0]], holdout, catalogue)  # u1 finds b first, u3 finds a second
    assert result.user_ids.tolist() == ["u1", "u3"]
    assert result.metrics["recall@2"].value == (1 / 2 + 1) / 2
    assert result.metrics["mrr@2"].value == (1 + 1 / 2) / 2
    found = {(part.group, part.name): (part.users, part.metrics["recall@2"].value) for part in result.slices}
    assert found == {
        ("history", "1-4"): (2, 0.75),
        ("segment", "north"): (1, 0.5),
        ("segment", "south"): (1, 1.0),
        ("items", "head"): (1, 1.0),
        ("items", "tail"): (1, 1.0),
        ("items", "cold"): (1, 0.0),
    }
    assert result.effects["coverage@2"] == 1.0
    assert result.effects["cold_share@1"] == 0.5


def test_head_is_a_fifth_of_the_warm_items() -> None:
    groups = item_groups(np.array([0, 5, 5, 1, 2, 1]))
    assert {name: np.flatnonzero(mask).tolist() for name, mask in groups.items()} == {
        "head": [1],
        "tail": [2, 3, 4, 5],
        "cold": [0],
    }


def test_frame_and_json_agree(holdout: Holdout, catalogue: Catalogue) -> None:
    result = run([[1, 2], [3, 0]], holdout, catalogue)
    frame = result.to_frame()
    row = frame[(frame["group"] == "items") & (frame["slice"] == "head") & (frame["metric"] == "ndcg@2")].iloc[0]
    stored = json.loads(result.to_json())
    part = next(part for part in stored["slices"] if part["name"] == "head")
    assert row["value"] == part["metrics"]["ndcg@2"]["value"] == pytest.approx(1 / math.log2(3))
    assert stored["users"] == 2


def test_comparison_is_by_user(holdout: Holdout, catalogue: Catalogue) -> None:
    good, bad = run([[1, 3], [0, 1]], holdout, catalogue), run([[2, 0], [3, 1]], holdout, catalogue)
    assert compare(good, bad, metric="ndcg@2", seed=0).difference == 1.0
    with pytest.raises(DataError, match="no metric 'ndcg@10'"):
        compare(good, bad, seed=0)


def test_lists_must_fit_the_holdout(holdout: Holdout, catalogue: Catalogue) -> None:
    with pytest.raises(DataError, match="1 ranked lists for 2 users"):
        run([[1]], holdout, catalogue)


def test_nobody_to_evaluate_gives_nan_not_an_error(holdout: Holdout, catalogue: Catalogue) -> None:
    nobody = split_by_time(holdout.history, validation_from=99, test_from=99).test
    result = evaluate(np.empty((0, 2), np.int32), nobody, nobody.history, catalogue, ks=(2,), seed=0)
    assert result.users == 0
    assert math.isnan(result.metrics["ndcg@2"].value)
    assert json.loads(result.to_json())["metrics"]["ndcg@2"]["value"] is None
