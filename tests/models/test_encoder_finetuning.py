"""Contrastive fine-tuning of a tiny encoder on a planted pattern."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from models.catalogue import Catalogue
from models.contrastive import contrastive_loss, excluded_candidates
from models.device import choose_device
from models.encoder_config import FinetuningConfig
from models.encoder_finetuning import finetune
from models.engagement_pairs import EngagementPairs, engagement_pairs
from models.interactions import InteractionLog
from models.language_model import TextEncoder

CPU = choose_device("cpu")
TEXTS = [f"{colour} {thing}" for colour in ("red", "blue", "green") for thing in ("lipstick", "polish", "shampoo")]
CONFIG = FinetuningConfig(
    steps=40, batch_size=16, learning_rate=5e-3, evaluate_every=20, checkpoint_every=10, hard_negatives=4,
    temperature=0.1, max_tokens=16, window=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def pairs() -> EngagementPairs:
    """Users choose all three things of one colour: the colour decides, the kind of thing does not."""
    rng = np.random.default_rng(0)
    rows = [
        (f"u{user:02}", str(3 * (user % 3) + item), pd.Timestamp(2026, 1, 1 + day))
        for user in range(60)
        for day, item in enumerate(rng.permutation(3))
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "event_at"]).assign(weight=1.0)
    items = pd.DataFrame({"item_id": [str(row) for row in range(9)], "category": ["lips", "nails", "hair"] * 3})
    catalogue = Catalogue.from_frame(items)
    return engagement_pairs(InteractionLog.from_frame(frame, catalogue.item_ids), catalogue, rng, window=2)


def _purity(folder: Path) -> float:
    """Share of items whose nearest other item has their colour."""
    vectors = TextEncoder.load(folder, device=CPU).encode(TEXTS)
    nearest = (vectors @ vectors.T - 9 * np.eye(9)).argmax(axis=1)
    return float((nearest // 3 == np.arange(9) // 3).mean())


def test_loss_by_hand() -> None:
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    excluded = torch.tensor([[True, False, False]])
    loss = contrastive_loss(vectors, torch.tensor([0]), torch.tensor([1]), excluded, torch.zeros(3), 0.5)
    assert loss.item() == pytest.approx(-math.log(math.exp(2) / (math.exp(2) + 1)))


def test_frequent_candidates_weigh_less_as_negatives() -> None:
    vectors = torch.eye(3)
    shares = torch.tensor([0.0, 0.0, math.log(100)])
    loss = contrastive_loss(
        vectors, torch.tensor([0]), torch.tensor([1]), torch.tensor([[True, False, False]]), shares, 1.0
    )
    assert loss.item() == pytest.approx(math.log(1.01))


def test_own_items_are_no_negatives(pairs: EngagementPairs) -> None:
    user_of_red = int(np.flatnonzero(pairs.users == 0)[0])
    candidates = np.array([0, 1, 2, 5])
    query, target = (
        np.array([np.searchsorted(candidates, side[user_of_red])]) for side in (pairs.anchors, pairs.positives)
    )
    excluded = excluded_candidates(pairs, np.array([user_of_red]), candidates, query, target)[0]
    assert not excluded[target[0]]
    assert excluded[:3].sum() == 2
    assert not excluded[3]


def test_planted_pattern_is_found(tiny_encoder: Path, tmp_path: Path, pairs: EngagementPairs) -> None:
    made = finetune(pairs, TEXTS, tiny_encoder, CONFIG, seed=1, folder=tmp_path / "out", device=CPU)
    assert _purity(tiny_encoder) < 0.8
    assert _purity(made.folder) == 1.0
    losses = [point.held_out_loss for point in made.report.curve if point.held_out_loss is not None]
    assert min(losses) < 0.8 * losses[0]


def test_resume_gives_the_same_bits(tiny_encoder: Path, tmp_path: Path, pairs: EngagementPairs) -> None:
    config = replace(CONFIG, steps=20)

    def stop(point: object) -> None:
        if getattr(point, "step", 0) == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(
            pairs, TEXTS, tiny_encoder, config,
            seed=1, folder=tmp_path / "a", checkpoint_folder=tmp_path / "work", device=CPU, on_point=stop,
        )  # fmt: skip
    resumed = finetune(
        pairs,
        TEXTS,
        tiny_encoder,
        config,
        seed=1,
        folder=tmp_path / "b",
        checkpoint_folder=tmp_path / "work",
        device=CPU,
    )
    whole = finetune(pairs, TEXTS, tiny_encoder, config, seed=1, folder=tmp_path / "c", device=CPU)
    assert resumed.report.resumed_from == 10
    assert resumed.version == whole.version


def test_lora_moves_the_vectors(tiny_encoder: Path, tmp_path: Path, pairs: EngagementPairs) -> None:
    config = replace(CONFIG, lora_rank=4, steps=20)
    made = finetune(pairs, TEXTS, tiny_encoder, config, seed=1, folder=tmp_path / "out", device=CPU)
    assert not (made.folder / "adapter_config.json").exists()
    before, after = (TextEncoder.load(folder, device=CPU).encode(TEXTS) for folder in (tiny_encoder, made.folder))
    assert np.abs(before - after).max() > 1e-3


def test_early_stop_keeps_the_best_weights(tiny_encoder: Path, tmp_path: Path, pairs: EngagementPairs) -> None:
    config = replace(CONFIG, learning_rate=0.5, evaluate_every=2, patience=2)
    made = finetune(pairs, TEXTS, tiny_encoder, config, seed=1, folder=tmp_path / "out", device=CPU)
    best = min(made.report.curve, key=lambda point: point.held_out_loss or 0.0)
    assert made.report.best_step == best.step
    assert made.report.steps < 40


def test_no_pairs_keep_the_encoder_and_say_so(tiny_encoder: Path, tmp_path: Path, pairs: EngagementPairs) -> None:
    empty = replace(pairs, anchors=pairs.anchors[:0], positives=pairs.positives[:0], users=pairs.users[:0])
    made = finetune(empty, TEXTS, tiny_encoder, CONFIG, seed=1, folder=tmp_path / "out", device=CPU)
    assert "fewer than two pairs" in made.report.skipped
    assert (made.folder / "model.safetensors").read_bytes() == (tiny_encoder / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    "options",
    [{"field_dropout": 0.2}, {"word_dropout": 0.2}, {"category_weight": 0.5}],
    ids=lambda options: next(iter(options)),
)
def test_planted_pattern_is_found_with_each_option(
    tiny_encoder: Path, tmp_path: Path, pairs: EngagementPairs, options: dict[str, float]
) -> None:
    config = replace(CONFIG, **options)
    finetune(pairs, TEXTS, tiny_encoder, config, seed=1, folder=tmp_path / "out", device=CPU)
    assert _purity(tmp_path / "out") >= 0.8


def test_a_task_without_classes_is_skipped_with_a_reason(
    tiny_encoder: Path, tmp_path: Path, pairs: EngagementPairs
) -> None:
    config = replace(CONFIG, steps=2, event_type_weight=0.5)
    made = finetune(pairs, TEXTS, tiny_encoder, config, seed=1, folder=tmp_path / "out", device=CPU)
    assert made.skipped_tasks == {"event_type": "the pairs have 1 event type, and two are needed"}
