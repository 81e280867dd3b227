"""Training: seeds, resuming after a kill, batches, early stopping and the losses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from models.catalogue import Catalogue
from models.device import choose_device
from models.interactions import InteractionLog
from models.losses import full_softmax_loss, popularity_rates, sampled_softmax_loss
from models.sequence_batches import epoch_batches, training_windows, without_repeats
from models.sequence_encoder import SequenceConfig
from models.sequence_run import EpochReport
from models.sequence_training import SequenceTrainer, TrainedSequence, hold_out_last, train_sequence_encoder

CONFIG = SequenceConfig(
    embedding_size=8,
    blocks=1,
    max_length=4,
    dropout=0.3,
    attention_dropout=0.2,
    batch_tokens=64,
    epochs=6,
    patience=0,
    loss="sampled",
    negatives=8,
    averaging=0.9,
)


class Killed(Exception):
    """Stands for the end of the process."""


def make_log(histories: list[list[int]], items: int = 10) -> InteractionLog:
    rows = [
        {"user_id": f"u{user:03d}", "item_id": f"i{item}", "event_at": pd.Timestamp(place, unit="s"), "weight": 1.0}
        for user, history in enumerate(histories)
        for place, item in enumerate(history)
    ]
    return InteractionLog.from_frame(pd.DataFrame(rows), [f"i{item}" for item in range(items)])


def circle(users: int = 60) -> InteractionLog:
    return make_log([[(user + step) % 10 for step in range(3 + user % 4)] for user in range(users)])


def catalogue() -> Catalogue:
    texts = np.random.default_rng(0).normal(size=(10, 12)).astype(np.float32)
    return Catalogue.from_frame(pd.DataFrame({"item_id": [f"i{item}" for item in range(10)]}), texts)


def train(folder: Path | None = None, *, seed: int = 1, kill_after: int = 0) -> TrainedSequence:
    log, validation = hold_out_last(circle(), 10, seed=0)

    def on_epoch(report: EpochReport) -> None:
        if report.epoch == kill_after:
            raise Killed

    return train_sequence_encoder(
        log, catalogue(), CONFIG, seed=seed, validation=validation, checkpoint_folder=folder, on_epoch=on_epoch,
        device="cpu",
    )  # fmt: skip


def weights(trained: TrainedSequence) -> dict[str, torch.Tensor]:
    return trained.encoder.state_dict()


def assert_equal(left: TrainedSequence, right: TrainedSequence) -> None:
    assert left.reports == right.reports
    for name, tensor in weights(left).items():
        assert torch.equal(tensor, weights(right)[name]), name


def test_the_seed_decides_everything() -> None:
    torch.manual_seed(5)
    first = train()
    torch.manual_seed(6)
    assert_equal(first, train())
    other = train(seed=2)
    assert not torch.equal(weights(first)["position"], weights(other)["position"])


@pytest.mark.parametrize("killed_after", [1, 4, 6])
def test_a_killed_run_continues_to_the_same_weights(tmp_path: Path, killed_after: int) -> None:
    with pytest.raises(Killed):
        train(tmp_path, kill_after=killed_after)
    assert_equal(train(tmp_path), train())


def test_a_checkpoint_of_another_run_is_not_continued(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(tmp_path, seed=2, kill_after=3)
    assert_equal(train(tmp_path), train())


def test_the_callers_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train()
    assert torch.equal(torch.rand(1), expected)


def test_windows_cover_every_transition_once() -> None:
    log = make_log([[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [3], [5, 6]])
    windows = training_windows(log, np.arange(10), CONFIG)
    pairs = []
    for batch in epoch_batches(windows, 8, np.random.default_rng(0)):
        assert batch.inputs.size <= 8
        real = batch.targets >= 0
        pairs += list(zip(batch.inputs[real].tolist(), batch.targets[real].tolist(), strict=True))
    assert sorted(pairs) == sorted([(item, item + 1) for item in range(9)] + [(5, 6)])


def test_runs_of_one_item_are_one_step_and_seen_items_no_target() -> None:
    log = without_repeats(make_log([[1, 1, 2, 1, 3], [3, 4]]))
    assert log.item_rows.tolist() == [1, 2, 1, 3, 3, 4]
    windows = training_windows(log, np.arange(10), CONFIG)
    targets = np.concatenate([batch.targets.ravel() for batch in epoch_batches(windows, 99, np.random.default_rng(0))])
    assert sorted(targets[targets >= 0].tolist()) == [2, 3, 4]
    every = training_windows(log, np.arange(10), replace(CONFIG, targets="all"))
    assert every.is_target.all()


def test_hold_out_takes_last_items_that_are_new_to_the_user() -> None:
    log = make_log([[1, 2, 3], [1, 2, 1], [4, 5], [6, 7, 8, 9]])
    history, holdout = hold_out_last(log, 10, seed=0)
    assert holdout.user_rows.tolist() == [0, 3]
    assert holdout.targets.item_rows.tolist() == [3, 9]
    assert [history.item_rows[history.start[user]:history.start[user + 1]].tolist() for user in (0, 1, 3)] == [
        [1, 2], [1, 2, 1], [6, 7, 8],
    ]  # fmt: skip


@pytest.mark.parametrize("scale", [1.0, 40.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_full_softmax_equals_the_plain_one(scale: float, smoothing: float) -> None:
    torch.manual_seed(0)
    states, vectors = torch.randn(37, 8, requires_grad=True), torch.randn(20, 8, requires_grad=True)
    targets = torch.randint(0, 20, (37,))
    ours = full_softmax_loss(states * scale, vectors, targets, label_smoothing=smoothing, chunk=10)
    plain = torch.nn.functional.cross_entropy((states * scale) @ vectors.T, targets, label_smoothing=smoothing)
    torch.testing.assert_close(ours, plain)
    for mine, other in zip(
        torch.autograd.grad(ours, (states, vectors)), torch.autograd.grad(plain, (states, vectors)), strict=True
    ):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_sampled_softmax_with_every_item_once_is_the_full_one() -> None:
    torch.manual_seed(0)
    states, vectors = torch.randn(37, 8, requires_grad=True), torch.randn(20, 8, requires_grad=True)
    targets = torch.randint(0, 20, (37,))
    hits = torch.stack([torch.arange(37), targets])
    sampled = sampled_softmax_loss(states, vectors, vectors[targets], hits, torch.zeros(20), chunk=10)
    full = full_softmax_loss(states, vectors, targets)
    torch.testing.assert_close(sampled, full)
    for mine, other in zip(
        torch.autograd.grad(sampled, (states, vectors)), torch.autograd.grad(full, (states, vectors)), strict=True
    ):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def test_correction_makes_the_sampled_loss_approach_the_full_one() -> None:
    torch.manual_seed(0)
    states, vectors, targets = torch.randn(50, 4), torch.randn(30, 4), torch.randint(0, 30, (50,))
    rates = popularity_rates(torch.arange(30))
    rows = torch.multinomial(rates, 200_000, replacement=True)
    hits = torch.stack(torch.nonzero(targets[:, None] == rows[None, :], as_tuple=True))
    expected = (rates[rows] * len(rows)).log().float()
    sampled = sampled_softmax_loss(states, vectors[rows], vectors[targets], hits, expected)
    assert float(sampled) == pytest.approx(float(full_softmax_loss(states, vectors, targets)), abs=0.01)


@pytest.mark.parametrize("loss", ["full", "sampled"])
def test_threads_do_not_change_a_bit(loss: str) -> None:
    """Batches large enough for several threads; adding gradients in any order would differ in the last bits."""
    rng = np.random.default_rng(0)
    histories = [rng.integers(0, 40, size=12).tolist() for _ in range(300)]
    log = make_log(histories, 40)
    items = Catalogue.from_frame(pd.DataFrame({"item_id": [f"i{item}" for item in range(40)]}))
    config = replace(CONFIG, embedding_size=32, max_length=12, batch_tokens=2048, epochs=2, loss=loss, negatives=64)
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        runs = [train_sequence_encoder(log, items, config, seed=1, device="cpu") for _ in range(3)]
    finally:
        torch.set_num_threads(threads)
    first, *others = (weights(one) for one in runs)
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in first)


def test_larger_steps_leave_enough_of_them_and_keep_noise_and_average() -> None:
    config = SequenceConfig(batch_tokens=1000, epochs=20, learning_rate=0.001, averaging=0.99)
    assert config.for_larger_steps(40_000, 8) == config  # 800 steps in all
    larger = config.for_larger_steps(250_000, 8)  # 5,000 steps: five times larger leaves 1,000
    assert larger.batch_tokens == 5_000
    assert larger.learning_rate == pytest.approx(0.001 * 5**0.5)
    assert larger.averaging == pytest.approx(0.99**5)
    assert config.for_larger_steps(10_000_000, 8).batch_tokens == 8_000
    assert config.for_larger_steps(10_000_000, 1) == config


def test_larger_steps_learn_the_same() -> None:
    """What a GPU's settings do to the result, computed on the CPU: the planted circle is found all the same."""
    log, validation = hold_out_last(circle(400), 60, seed=0)
    config = replace(CONFIG, dropout=0.1, attention_dropout=0.0, epochs=60, batch_tokens=16)
    found = []
    for multiple in (1, 4):
        device = replace(choose_device("cpu"), batch_multiple=multiple)
        trainer = SequenceTrainer(log, catalogue(), config, seed=1, device=device)
        assert trainer.config.batch_tokens == 16 * multiple
        run = trainer.start()
        for epoch in range(1, 13):
            trainer.train_epoch(run, epoch)
        found.append(trainer.validate(run, validation))
    assert found[0] > 0.9
    assert found[1] == pytest.approx(found[0], abs=0.05)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_learns_the_same_as_the_cpu() -> None:
    log, validation = hold_out_last(circle(400), 60, seed=0)
    config = replace(CONFIG, dropout=0.1, attention_dropout=0.0, epochs=40)
    best = [
        max(report.ndcg or 0.0 for report in train_sequence_encoder(
            log, catalogue(), config, seed=1, validation=validation, device=kind
        ).reports)
        for kind in ("cpu", "cuda")
    ]  # fmt: skip
    assert best[1] == pytest.approx(best[0], abs=0.05)
