"""Masked and next-token pretraining of a tiny encoder."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from models.catalogue import Catalogue
from models.device import choose_device
from models.encoder_config import PretrainingConfig
from models.encoder_pretraining import Alignment, pretrain
from models.engagement_pairs import engagement_pairs
from models.errors import ConfigurationError
from models.interactions import InteractionLog
from models.language_model import TextEncoder

CPU = choose_device("cpu")
TEXTS = [f"{colour} {thing} for {part}" for colour in ("red", "blue", "green") for thing, part in
         (("lipstick", "lips"), ("polish", "nails"), ("shampoo", "hair"))] * 8  # fmt: skip
CONFIG = PretrainingConfig(
    steps=6, batch_size=8, head_steps=2, evaluate_every=3, checkpoint_every=2, learning_rate=1e-3, max_tokens=16
)


def _weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_loss_falls_and_the_result_is_an_encoder(tiny_encoder: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=60, evaluate_every=20, learning_rate=3e-3, head_learning_rate=1e-2)
    made = pretrain(TEXTS, tiny_encoder, config, seed=1, folder=tmp_path / "out", device=CPU)
    losses = [point.held_out_loss for point in made.report.curve]
    assert losses[0] is not None
    assert losses[-1] is not None
    assert losses[-1] < 0.75 * losses[0]
    loaded = TextEncoder.load(made.folder, device=CPU)
    assert loaded.version == made.version
    assert loaded.encode(["red lipstick"]).shape == (1, 16)
    assert made.report.texts_per_second > 0


def test_equal_runs_give_equal_folders(tiny_encoder: Path, tmp_path: Path) -> None:
    versions = {
        pretrain(TEXTS, tiny_encoder, CONFIG, seed=seed, folder=tmp_path / name, device=CPU).version
        for name, seed in (("a", 1), ("b", 1))
    }
    assert len(versions) == 1
    other = pretrain(TEXTS, tiny_encoder, CONFIG, seed=2, folder=tmp_path / "c", device=CPU)
    assert other.version not in versions


def test_encoder_is_frozen_while_the_head_warms_up(tiny_encoder: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, head_steps=6)
    made = pretrain(TEXTS, tiny_encoder, config, seed=1, folder=tmp_path / "out", device=CPU)
    before = TextEncoder.load(tiny_encoder, device=CPU).encode(TEXTS[:3])
    np.testing.assert_array_equal(TextEncoder.load(made.folder, device=CPU).encode(TEXTS[:3]), before)


def test_frozen_layers_stay(tiny_encoder: Path, tmp_path: Path) -> None:
    made = pretrain(TEXTS, tiny_encoder, replace(CONFIG, frozen_layers=1), seed=1, folder=tmp_path / "out", device=CPU)
    before, after = (
        dict(TextEncoder.load(f, device=CPU).model.named_parameters()) for f in (tiny_encoder, made.folder)
    )
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.startswith("encoder.layer.1.")}


def test_too_many_frozen_layers(tiny_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the model has 2 layers"):
        pretrain(TEXTS, tiny_encoder, replace(CONFIG, frozen_layers=3), seed=1, folder=tmp_path / "out", device=CPU)


def test_lora_is_merged_into_the_result(tiny_encoder: Path, tmp_path: Path) -> None:
    made = pretrain(TEXTS, tiny_encoder, replace(CONFIG, lora_rank=2), seed=1, folder=tmp_path / "out", device=CPU)
    before, after = (
        dict(TextEncoder.load(f, device=CPU).model.named_parameters()) for f in (tiny_encoder, made.folder)
    )
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert before.keys() == after.keys()
    assert "encoder.layer.0.attention.self.query.weight" in changed
    assert "embeddings.word_embeddings.weight" not in changed


def test_decoder_learns_the_next_token(tiny_decoder: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=30, evaluate_every=10, learning_rate=1e-2)
    made = pretrain(TEXTS, tiny_decoder, config, seed=1, folder=tmp_path / "out", device=CPU)
    losses = [point.held_out_loss for point in made.report.curve if point.held_out_loss is not None]
    assert min(losses) < 0.9 * losses[0]
    assert TextEncoder.load(made.folder, device=CPU).pooling == "last"


@pytest.mark.parametrize(("texts", "steps", "why"), [([], 6, "no text to read"), (TEXTS, 0, "steps = 0")])
def test_nothing_to_do_keeps_the_encoder_and_says_so(
    tiny_encoder: Path, tmp_path: Path, texts: list[str], steps: int, why: str
) -> None:
    made = pretrain(texts, tiny_encoder, replace(CONFIG, steps=steps), seed=1, folder=tmp_path / "out", device=CPU)
    assert made.report.skipped == why
    assert json.loads((made.folder / "freshet.json").read_text())["skipped"] == why
    assert _weights(made.folder) == _weights(tiny_encoder)


def _alignment() -> Alignment:
    """Items 0 and 1 are chosen after each other, so are 2 and 3; their texts share no word."""
    texts = ["red lipstick", "blue shampoo", "green polish", "for hair"]
    frame = pd.DataFrame(
        {
            "user_id": [f"u{user:02d}" for user in range(40) for _ in range(2)],
            "item_id": [f"i{(user % 2) * 2 + place}" for user in range(40) for place in range(2)],
            "event_at": pd.to_datetime([place for _ in range(40) for place in range(2)], unit="D"),
            "weight": 1.0,
        }
    )
    ids = [f"i{row}" for row in range(4)]
    log = InteractionLog.from_frame(frame, ids)
    pairs = engagement_pairs(log, Catalogue.from_frame(pd.DataFrame({"item_id": ids})), np.random.default_rng(0))
    return Alignment(pairs, texts)


def test_alignment_brings_texts_together_that_are_chosen_after_each_other(tiny_encoder: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=40, align_weight=1.0, align_pairs=8, learning_rate=3e-3, held_out=0)
    made = pretrain(TEXTS, tiny_encoder, config, seed=1, folder=tmp_path / "out", device=CPU, alignment=_alignment())
    before, after = (
        TextEncoder.load(folder, device=CPU).encode(_alignment().texts) for folder in (tiny_encoder, made.folder)
    )
    together, apart = ([0, 2], [1, 3]), ([0, 1], [2, 3])
    gain = (after @ after.T)[together] - (before @ before.T)[together]
    loss = (after @ after.T)[apart] - (before @ before.T)[apart]
    assert gain.min() > loss.max()
    assert ((after @ after.T)[together] > (after @ after.T)[apart]).all()


def test_without_weight_the_alignment_changes_nothing(tiny_encoder: Path, tmp_path: Path) -> None:
    plain = pretrain(TEXTS, tiny_encoder, CONFIG, seed=1, folder=tmp_path / "plain", device=CPU)
    beside = pretrain(
        TEXTS, tiny_encoder, CONFIG, seed=1, folder=tmp_path / "beside", device=CPU, alignment=_alignment()
    )
    assert beside.version == plain.version


_KILLED = """
import os, signal, sys
from pathlib import Path
import models.training_loop as loop
from models.device import choose_device
from models.encoder_config import PretrainingConfig
from models.encoder_pretraining import pretrain

def die(point):
    if point.step == 3:
        os.kill(os.getpid(), signal.SIGKILL)

texts, base, out, work = eval(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
config = PretrainingConfig(**eval(sys.argv[5]))
pretrain(texts, base, config, seed=1, folder=out, checkpoint_folder=work, device=choose_device("cpu"), on_point=die)
"""


def test_resume_after_kill_gives_the_same_bits(tiny_encoder: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    arguments = [repr(TEXTS), str(tiny_encoder), str(tmp_path / "killed"), str(work), repr(vars(CONFIG))]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run([sys.executable, "-c", _KILLED, *arguments], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()

    resumed = pretrain(
        TEXTS, tiny_encoder, CONFIG, seed=1, folder=tmp_path / "resumed", checkpoint_folder=work, device=CPU
    )
    whole = pretrain(TEXTS, tiny_encoder, CONFIG, seed=1, folder=tmp_path / "whole", device=CPU)
    assert resumed.report.resumed_from == 2
    assert resumed.version == whole.version
    assert resumed.report.curve == whole.report.curve
