"""The ablation of the text path, on vectors whose worth is known."""

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from assets.domain import Domain
from models.catalogue import Catalogue
from models.device import choose_device
from models.interactions import InteractionLog

BLOCKS, PER_BLOCK = 4, 8
ITEMS = [f"i{row:02d}" for row in range(BLOCKS * PER_BLOCK)]


@pytest.fixture
def language_model() -> ModuleType:
    return importlib.import_module("language_model")


def _log() -> InteractionLog:
    """Each user reads six of the eight items of one block."""
    rng = np.random.default_rng(3)
    rows = [
        (f"u{user:02d}", ITEMS[(user % BLOCKS) * PER_BLOCK + item], pd.Timestamp("2026-01-01") + pd.Timedelta(days=day))
        for user in range(40)
        for day, item in enumerate(rng.permutation(PER_BLOCK)[:6])
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "event_at"])
    return InteractionLog.from_frame(frame.assign(weight=1.0), ITEMS)


def test_vectors_that_know_the_blocks_are_better_than_those_that_do_not(
    language_model: ModuleType, tmp_path: Path
) -> None:
    domain = Domain(name="amazon-reviews", event_weights={"review": 1.0})
    catalogue = Catalogue.from_frame(pd.DataFrame({"item_id": ITEMS}))
    data = language_model.LandedData(domain, catalogue, [""] * len(ITEMS), _log(), times=None)
    known = np.repeat(np.eye(BLOCKS, dtype=np.float32), PER_BLOCK, axis=0)
    for name, vectors in (("raw", np.random.default_rng(0).normal(size=(32, 4))), ("masked_tokens", known)):
        np.save(tmp_path / f"{name}.npy", vectors.astype(np.float32))
        (tmp_path / f"{name}.json").write_text(json.dumps({}))
    split = data.split("leave-one-out")
    bench = language_model.Bench(data, split, tmp_path, choose_device("cpu"), "none", 7)
    kept: list[list[str]] = []
    facts = language_model.measure(
        bench, language_model.ROWS[:2], ("validation",), keep=lambda facts: kept.append(list(facts["rows"]))
    )
    assert kept == [["raw"], ["raw", "masked_tokens"]]
    assert facts["rows"]["masked_tokens"]["validation"]["against"]["raw"]["low"] > 0


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ({"review": 1.0, "impression": 0.0}, "the domain has 1 event type, and two are needed"),
        ({"view": 1.0, "purchase": 2.0}, "the split of this benchmark does not keep the types of events"),
    ],
)
def test_the_row_of_event_types_is_skipped_with_a_reason(
    language_model: ModuleType, weights: dict[str, float], reason: str
) -> None:
    data = language_model.LandedData(Domain(name="amazon-reviews", event_weights=weights), None, [], None, times=None)
    row = next(row for row in language_model.ROWS if row.name == "event_type")
    assert language_model.why_skipped(data, row) == reason
    assert language_model.why_skipped(data, language_model.ROWS[0]) == ""


def test_each_row_builds_on_one_before_it(language_model: ModuleType) -> None:
    names = [row.name for row in language_model.ROWS]
    for place, row in enumerate(language_model.ROWS):
        assert {row.base, *row.against} - {""} <= set(names[:place])


def test_last_old_choice_of_each_user_is_held_out() -> None:
    log = _log()
    new_from = int(pd.Timestamp("2026-01-05").timestamp())
    mask = importlib.import_module("continued_learning").held_out_mask(log, new_from)
    assert mask.reshape(-1, 6).tolist() == [[False, False, False, True, False, False]] * 40
