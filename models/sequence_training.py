"""Training of the sequence transformer: steps, schedule, early stopping, resume after a kill.

Every epoch draws its randomness from the seed and its own number alone, so a run that is continued from the
checkpoint of an epoch takes the same steps as one that was never stopped: bit for bit on a CPU.
"""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.catalogue import Catalogue
from models.checkpoints import CheckpointFolder
from models.device import Device, choose_device, seeded
from models.errors import DataError
from models.interactions import InteractionLog, LongArray
from models.losses import full_softmax_loss, popularity_rates, sampled_softmax_loss
from models.sequence_batches import Batch, Windows, epoch_batches, training_windows, without_repeats
from models.sequence_encoder import SequenceConfig, SequenceEncoder
from models.sequence_inference import encode_histories, encode_items, ranking_ndcg
from models.sequence_items import ItemVectors, centred_text, mean_text
from models.sequence_run import EpochReport, TrainingRun
from models.splitting import Holdout, Targets, pair_codes
from models.ties import resolved_ties

VALIDATION_K = 10


@dataclass(frozen=True)
class TrainedSequence:
    """A trained network with what is needed to use it."""

    encoder: SequenceEncoder
    vocabulary: LongArray
    """Catalogue row of each row of the encoder's item vectors."""
    best_epoch: int
    """Epoch whose weights these are; pass it as `epochs` to train again on more data."""
    reports: list[EpochReport]


def train_sequence_encoder(
    log: InteractionLog,
    catalogue: Catalogue,
    config: SequenceConfig,
    *,
    seed: int,
    validation: Holdout | None = None,
    epochs: int | None = None,
    checkpoint_folder: Path | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    device: str = "auto",
) -> TrainedSequence:
    """Train on next items.

    Args:
        log: Training interactions; they must not hold the targets of `validation`.
        catalogue: Items; with text vectors where the configuration uses text.
        config: Hyper-parameters.
        seed: Decides initial weights, batches, dropout and negatives.
        validation: Targets for early stopping; without it the last weights are kept.
        epochs: Stop after this many epochs of the schedule that `config.epochs` spans; no early stopping.
        checkpoint_folder: Where to keep the latest epoch; a folder with one of the same run is continued.
        on_epoch: Called after each epoch.
        device: auto, cpu, cuda or mps.

    Raises:
        DataError: no user has two interactions.
        ConfigurationError: the catalogue lacks the text vectors that the configuration wants.
    """
    trainer = SequenceTrainer(log, catalogue, config, seed=seed, device=choose_device(device))
    run = trainer.start()
    folder = None
    if checkpoint_folder is not None:
        folder = CheckpointFolder(checkpoint_folder, trainer.fingerprint(validation, epochs))
        if (checkpoint := folder.latest()) is not None:
            run.restore(checkpoint)
    last = min(epochs or config.epochs, config.epochs)
    is_stopping = validation is not None and epochs is None
    for epoch in range(len(run.reports) + 1, last + 1):
        if is_stopping and run.is_exhausted():
            break
        loss = trainer.train_epoch(run, epoch)
        ndcg = None
        if validation is not None and (epoch % config.validation_every == 0 or epoch == last):
            ndcg = trainer.validate(run, validation)
            run.keep_if_best(epoch, ndcg)
        run.reports.append(EpochReport(epoch, loss, trainer.learning_rate(run.step), ndcg))
        if folder is not None:
            run.store(folder)
        if on_epoch is not None:
            on_epoch(run.reports[-1])
    best_epoch = run.finish(is_stopping=is_stopping)
    run.encoder.eval()
    return TrainedSequence(run.encoder, trainer.vocabulary, best_epoch, run.reports)


def hold_out_last(log: InteractionLog, users: int, *, seed: int) -> tuple[InteractionLog, Holdout]:
    """Take the last interaction of up to `users` random users out of the log, as targets for early stopping.

    Only users with two interactions or more before it, and whose last item is new to them, are taken.
    """
    counts = np.diff(log.start)
    candidates = np.flatnonzero(counts >= 3)
    last = log.start[candidates + 1] - 1
    codes = pair_codes(log.user_rows, log.item_rows, log.item_count)
    _, first, times = np.unique(codes, return_index=True, return_counts=True)
    is_single = np.zeros(len(codes), dtype=bool)
    is_single[first[times == 1]] = True
    candidates = candidates[is_single[last]]
    rng = np.random.default_rng([seed, 1])
    chosen = np.sort(rng.permutation(candidates)[:users])
    keep = np.ones(len(codes), dtype=bool)
    keep[log.start[chosen + 1] - 1] = False
    targets = Targets(np.arange(len(chosen) + 1, dtype=np.int64), log.item_rows[~keep])
    history = log.select(keep)
    return history, Holdout(history, chosen.astype(np.int32), targets)


class SequenceTrainer:
    """Takes the training steps of one run; everything in it stays fixed while the run moves on."""

    def __init__(
        self, log: InteractionLog, catalogue: Catalogue, config: SequenceConfig, *, seed: int, device: Device
    ) -> None:
        """Cut windows, number the trained items and gather their text vectors."""
        self.catalogue, self.seed, self.device = catalogue, seed, device
        cleaned = without_repeats(log)
        self.vocabulary, self.vocabulary_rows = _vocabulary(cleaned, catalogue.count)
        self.windows = training_windows(cleaned, self.vocabulary_rows, config)
        self.is_shuffled = resolved_ties(config.ties, log) == "unordered"
        self.config = config = config.for_larger_steps(self.windows.positions, device.batch_multiple)
        if not self.windows.positions:
            raise DataError("no user has two interactions with known items; there is no next item to learn from")
        self.text, self.mean = _text(catalogue, self.vocabulary, config, device)
        size = len(self.vocabulary)
        self.is_full = config.loss == "full" or (config.loss == "auto" and size <= config.full_softmax_items)
        self.every_item = torch.arange(size, device=device.target)
        self.rates = _sampling_rates(self.windows, size, config).to(device.target)
        self.steps_per_epoch = sum(1 for _ in epoch_batches(self.windows, config.batch_tokens, self._rng(0)))

    def start(self) -> TrainingRun:
        """A run at its first step, with weights drawn from the seed."""
        with seeded(self.seed):
            text_size = 0 if self.text is None else self.text.shape[1]
            items = ItemVectors(self.config, len(self.vocabulary), text_size)
            if items.projection is not None and self.text is not None:
                items.projection.mean.copy_(self.mean)
                if self.config.text_initial:
                    items.projection.start_at_components(self.text.cpu())
            encoder = SequenceEncoder(self.config, items).to(self.device.target)
        return TrainingRun(encoder, _optimizer(encoder, self.config), self.config, self.device.compiled(encoder))

    def learning_rate(self, step: int) -> float:
        """Rate at a step (0-based): a linear rise, then a cosine to `final_rate` of the peak."""
        total = self.steps_per_epoch * self.config.epochs
        warmup = max(int(total * self.config.warmup_share), 1)
        if step < warmup:
            return self.config.learning_rate * (step + 1) / warmup
        along = min((step - warmup) / max(total - warmup, 1), 1.0)
        final = self.config.final_rate
        return self.config.learning_rate * (final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * along)))

    def train_epoch(self, run: TrainingRun, epoch: int) -> float:
        """Pass over all windows once and return the mean loss."""
        run.encoder.train()
        rng = self._rng(epoch)
        losses, counts = [], []
        with seeded(int(rng.integers(2**62))), self.device.fast_products():
            windows = self.windows.shuffled(rng) if self.is_shuffled else self.windows
            for batch in epoch_batches(windows, self.config.batch_tokens, rng):
                count = int((batch.targets >= 0).sum())
                if not count:
                    continue
                for group in run.optimizer.param_groups:
                    group["lr"] = self.learning_rate(run.step)
                losses.append(self._take_step(run, batch, rng))
                counts.append(count)
        # Read at the end of the epoch: reading every step's loss would make a GPU wait for it.
        values: list[float] = torch.stack(losses).tolist() if losses else []
        return sum((value * count for value, count in zip(values, counts, strict=True)), 0.0) / max(sum(counts), 1)

    def validate(self, run: TrainingRun, validation: Holdout) -> float:
        """NDCG@10 of the averaged weights on a holdout."""
        with run.averaged():
            items = encode_items(run.encoder, self.vocabulary_rows, self.catalogue, self.device)
            histories = validation.histories(length=2 * self.config.max_length)
            users = encode_histories(run.encoder, histories, items, self.device)
        return ranking_ndcg(users, items, validation, self.device, k=VALIDATION_K)

    def fingerprint(self, validation: Holdout | None, epochs: int | None) -> str:
        """Hash of all that decides the weights, for checkpoints."""
        digest = hashlib.sha256(json.dumps([asdict(self.config), self.seed, epochs, self.device.kind]).encode())
        arrays = [self.vocabulary, self.windows.rows, self.windows.begin, self.windows.length, self.windows.is_target]
        arrays += [self.windows.gaps, self.windows.tied]
        if self.text is not None:
            arrays.append(self.text.cpu().numpy())
        if validation is not None:
            arrays += [validation.user_rows, validation.targets.start, validation.targets.item_rows]
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def _rng(self, epoch: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch])

    def _take_step(self, run: TrainingRun, batch: Batch, rng: np.random.Generator) -> Tensor:
        loss = self._loss(run, batch, rng)
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.config.gradient_norm:
            torch.nn.utils.clip_grad_norm_(run.encoder.parameters(), self.config.gradient_norm)
        run.optimizer.step()
        run.step += 1
        run.update_average()
        return loss.detach()

    def _loss(self, run: TrainingRun, batch: Batch, rng: np.random.Generator) -> Tensor:
        is_target = batch.targets >= 0
        targets = batch.targets[is_target].astype(np.int64)
        inputs = np.maximum(batch.inputs, 0).astype(np.int64)
        negatives = np.zeros(0, dtype=np.int64) if self.is_full else self._negatives(rng)
        rows = self.every_item
        if not self.is_full:
            # Only the items of this batch get vectors: with a large catalogue that is most of the saving.
            parts = [inputs.ravel(), targets, negatives]
            distinct, places = np.unique(np.concatenate(parts), return_inverse=True)
            flat_inputs, targets, negatives = np.split(places, np.cumsum([len(part) for part in parts[:2]]))
            rows, inputs = self._tensor(distinct), flat_inputs.reshape(inputs.shape)
        vectors = run.encoder.items(rows, None if self.text is None else self.text[rows])
        # Not `vectors[rows]`: its backward pass adds with atomics, in another order every time.
        with self.device.autocast():
            states = run.forward(functional.embedding(self._tensor(inputs), vectors), self._gaps(batch))
        wanted = states[torch.from_numpy(is_target).to(self.device.target)].float()
        smoothing = self.config.label_smoothing
        if self.is_full:
            return full_softmax_loss(wanted, vectors, self._tensor(targets), label_smoothing=smoothing)
        hits = self._tensor(np.stack(np.nonzero(targets[:, None] == negatives[None, :])))
        chosen = self._tensor(negatives)
        expected = self.rates[rows[chosen]].mul(self.config.negatives).log().float()
        of_targets = functional.embedding(self._tensor(targets), vectors)
        of_chosen = functional.embedding(chosen, vectors)
        return sampled_softmax_loss(wanted, of_chosen, of_targets, hits, expected, label_smoothing=smoothing)

    def _gaps(self, batch: Batch) -> Tensor | None:
        return self._tensor(batch.gaps) if self.config.times == "gaps" else None

    def _negatives(self, rng: np.random.Generator) -> LongArray:
        if self.config.negative_sampling == "uniform":
            return rng.integers(len(self.vocabulary), size=self.config.negatives)
        edges = np.cumsum(self.rates.cpu().numpy())[:-1]
        return np.searchsorted(edges, rng.random(self.config.negatives), side="right").astype(np.int64)

    def _tensor(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(rows.astype(np.int64)).to(self.device.target)


def _vocabulary(log: InteractionLog, items: int) -> tuple[LongArray, LongArray]:
    """Catalogue rows that occur in the log, and the place of each catalogue row among them (-1: none)."""
    vocabulary = np.unique(log.item_rows).astype(np.int64)
    rows = np.full(items, -1, dtype=np.int64)
    rows[vocabulary] = np.arange(len(vocabulary))
    return vocabulary, rows


def _text(
    catalogue: Catalogue, vocabulary: LongArray, config: SequenceConfig, device: Device
) -> tuple[Tensor | None, Tensor]:
    """Centred text vectors of the vocabulary and the mean that was taken off them."""
    if config.item_source == "id" or catalogue.embeddings is None:
        return None, torch.zeros(0)
    text = torch.from_numpy(catalogue.embeddings[vocabulary])
    mean = mean_text(text)
    return centred_text(text, mean).to(device.target), mean


def _sampling_rates(windows: Windows, items: int, config: SequenceConfig) -> Tensor:
    if config.negative_sampling == "uniform":
        return torch.full((items,), 1.0 / items, dtype=torch.float64)
    return popularity_rates(torch.from_numpy(np.bincount(windows.rows, minlength=items)))


def _optimizer(encoder: SequenceEncoder, config: SequenceConfig) -> torch.optim.AdamW:
    matrices = [parameter for parameter in encoder.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in encoder.parameters() if parameter.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), fused=True)
