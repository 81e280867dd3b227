"""An encoder that goes on with new pairs, of a planted pattern."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.continued_learning import Forgetting, continue_finetuning, judged_loss, with_replay
from models.device import choose_device
from models.encoder_config import FinetuningConfig
from models.encoder_finetuning import finetune
from models.engagement_pairs import EngagementPairs, engagement_pairs
from models.interactions import BoolArray, InteractionLog

CPU = choose_device("cpu")
TEXTS = [f"{colour} {thing}" for colour in ("red", "blue", "green") for thing in ("lipstick", "polish", "shampoo")]
CONFIG = FinetuningConfig(
    steps=40, batch_size=16, learning_rate=5e-3, evaluate_every=20, hard_negatives=4, temperature=0.1, max_tokens=16,
    window=2,
)  # fmt: skip
NEW_FROM = 30
"""First user of the new days."""


@pytest.fixture(scope="module")
def pairs() -> EngagementPairs:
    """Old users choose by colour, new ones by kind of thing, so that what is learned last undoes the first."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(2 * NEW_FROM):
        for day, place in enumerate(rng.permutation(3)):
            item = 3 * (user % 3) + place if user < NEW_FROM else user % 3 + 3 * place
            rows.append((f"u{user:02}", str(item), pd.Timestamp(2026, 1, 1 + day)))
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "event_at"]).assign(weight=1.0)
    catalogue = Catalogue.from_frame(pd.DataFrame({"item_id": [str(row) for row in range(9)]}))
    return engagement_pairs(InteractionLog.from_frame(frame, catalogue.item_ids), catalogue, rng, window=2)


@pytest.fixture(scope="module")
def is_new(pairs: EngagementPairs) -> BoolArray:
    return pairs.users >= NEW_FROM


@pytest.fixture(scope="module")
def parent(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory, pairs: EngagementPairs) -> Path:
    """Fine-tuned on the old pairs."""
    folder = tmp_path_factory.mktemp("continued") / "parent"
    old = np.flatnonzero(pairs.users < NEW_FROM)
    finetune(pairs.select(old, pairs.weights[old]), TEXTS, tiny_encoder, CONFIG, seed=1, folder=folder, device=CPU)
    return folder


def test_a_drawn_pair_is_old_at_the_share_of_replay(pairs: EngagementPairs, is_new: BoolArray) -> None:
    new, old = np.flatnonzero(is_new), np.flatnonzero(~is_new)
    mixed = with_replay(pairs, new, old, 0.25, np.random.default_rng(0))
    is_old = mixed.users < NEW_FROM
    assert mixed.weights[is_old].sum() == pytest.approx(0.25)
    assert is_old.sum() == round(len(new) / 3)


def test_without_replay_all_pairs_are_new(pairs: EngagementPairs, is_new: BoolArray) -> None:
    mixed = with_replay(pairs, np.flatnonzero(is_new), np.flatnonzero(~is_new), 0.0, np.random.default_rng(0))
    assert (mixed.users >= NEW_FROM).all()
    assert mixed.weights.sum() == pytest.approx(1.0)


def test_without_old_pairs_the_new_ones_have_all_the_weight(pairs: EngagementPairs) -> None:
    nothing = np.empty(0, dtype=np.int64)
    mixed = with_replay(pairs, np.arange(pairs.count), nothing, 0.5, np.random.default_rng(0))
    assert mixed.weights.sum() == pytest.approx(1.0)


def test_new_pairs_are_learned(tmp_path: Path, parent: Path, pairs: EngagementPairs, is_new: BoolArray) -> None:
    made = continue_finetuning(pairs, is_new, TEXTS, parent, CONFIG, seed=1, folder=tmp_path / "out", device=CPU)
    assert made.figures["learning"] > 0.2


def test_replay_forgets_less(tmp_path: Path, parent: Path, pairs: EngagementPairs, is_new: BoolArray) -> None:
    lost = {}
    for share in (0.0, 0.5):
        config, folder = replace(CONFIG, replay_share=share), tmp_path / str(share)
        made = continue_finetuning(pairs, is_new, TEXTS, parent, config, seed=1, folder=folder, device=CPU)
        lost[share] = made.figures["forgetting"]
    assert lost[0.5] < lost[0.0] - 0.1


def test_no_new_pairs_leave_the_parent_as_it_is(tmp_path: Path, parent: Path, pairs: EngagementPairs) -> None:
    none = np.zeros(pairs.count, dtype=bool)
    made = continue_finetuning(pairs, none, TEXTS, parent, CONFIG, seed=1, folder=tmp_path / "out", device=CPU)
    assert made.report.skipped
    assert made.figures["forgetting"] == 0.0


def test_same_input_gives_the_same_version(
    tmp_path: Path, parent: Path, pairs: EngagementPairs, is_new: BoolArray
) -> None:
    config = replace(CONFIG, steps=5)
    first, second = (
        continue_finetuning(pairs, is_new, TEXTS, parent, config, seed=1, folder=tmp_path / name, device=CPU)
        for name in ("a", "b")
    )
    assert first.version == second.version


def test_one_pair_is_not_judged(parent: Path, pairs: EngagementPairs) -> None:
    assert judged_loss(pairs, np.array([0]), TEXTS, parent, CONFIG, CPU) is None


def test_figures_leave_out_what_is_unknown() -> None:
    assert Forgetting(1.0, 1.5, None, None).figures() == {
        "old_before_loss": 1.0,
        "old_after_loss": 1.5,
        "forgetting": 0.5,
    }
