"""Domain-adaptive pretraining: the encoder reads item texts and behaviour until the domain's words fit it.

Encoders predict masked tokens (BERT, arXiv 1810.04805; domain adaptation, arXiv 2004.10964), decoders the next token.
Sentence encoders come without a prediction head. A fresh one first trains alone, while the encoder is frozen: its
random gradients would otherwise undo what the encoder knows.

Masked tokens alone teach the domain's words and spoil what cosines mean. With `align_weight` a second objective works
beside them: the texts of items that follow each other in behaviour find each other among those of the batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.checkpoints import CheckpointFolder
from models.contrastive import draw_pairs, pair_loss
from models.device import Device, choose_device, torch_threads
from models.encoder_config import PretrainingConfig
from models.encoder_training import (
    TrainedEncoder,
    add_lora,
    batch_rows,
    merge_lora,
    split_held_out,
    trainable_parameters,
    training_fingerprint,
)
from models.encoder_weights import find_weights
from models.engagement_pairs import DoubleArray, EngagementPairs, sampling_shares
from models.errors import DataError, WeightsError
from models.interactions import LongArray
from models.language_model import (
    Pooling,
    choose_pooling,
    is_masked,
    load_tokenizer,
    load_transformer,
    pad,
    pool,
    save_encoder,
    token_ids,
)
from models.language_model_heads import IGNORED, load_with_head, mask_tokens, token_loss
from models.training_loop import CurvePoint, ParameterGroup, StepCost, TrainingLoop, TrainingReport

_HELD_OUT_BATCH = 64


@dataclass(frozen=True)
class Alignment:
    """What the second objective reads: which item was chosen close to which, and their texts."""

    pairs: EngagementPairs
    """From interactions that training may see."""
    texts: Sequence[str]
    """Text of every item row."""

    def parts(self) -> list[str]:
        """All that decides the objective's losses, as strings."""
        return [*self.texts, *(str(array.tolist()) for array in (self.pairs.anchors, self.pairs.positives))]


def pretrain(
    texts: Sequence[str],
    setting: str | Path,
    config: PretrainingConfig,
    *,
    seed: int,
    folder: Path,
    checkpoint_folder: Path | None = None,
    device: Device | None = None,
    threads: int | None = None,
    alignment: "Alignment | None" = None,
    sha256: str = "",
    on_point: Callable[[CurvePoint], None] | None = None,
) -> TrainedEncoder:
    """Adapt an encoder to a domain's texts.

    Args:
        texts: Item texts and behaviour rendered as text; only what training may see. Blank ones are left out.
        setting: Weights to start from, see `models.encoder_weights.find_weights`.
        config: Hyper-parameters.
        seed: Decides every random choice.
        folder: New folder for the result.
        checkpoint_folder: Where to keep checkpoints; a run that was killed resumes from it with the same result.
        device: Where to train; None chooses.
        threads: CPU threads; None leaves torch's setting.
        alignment: What the second objective reads; without it, or with `align_weight` 0, there is none.
        sha256: Expected hash of the starting weights.
        on_point: Called with every point of the loss curve.

    Raises:
        WeightsError: the starting weights are unusable.
        DataError: the loss is not a number.
    """
    weights, place = find_weights(str(setting), sha256), device or choose_device()
    readable = [text for text in texts if text.strip()]
    tokenizer = load_tokenizer(weights.folder)
    facts = {"stage": "pretrained", "base": weights.version, "config": asdict(config), "seed": seed}
    with torch_threads(threads):
        if not readable or not config.steps:
            model = load_transformer(weights.folder)
            report = TrainingReport(0, 0, (), skipped="no text to read" if config.steps else "steps = 0")
        else:
            store = None
            if checkpoint_folder is not None:
                parts = [*readable, *(alignment.parts() if alignment else [])]
                key = training_fingerprint("pretrained", weights.version, config, seed, parts)
                store = CheckpointFolder(checkpoint_folder, key)
            task = _prepare(readable, alignment, weights.folder, tokenizer, config, seed, place)
            model, report = task.train(store, on_point)
    facts |= {"pooling": choose_pooling(weights.folder, model.config), "skipped": report.skipped}
    version = save_encoder(folder, model.to("cpu"), tokenizer, facts)
    return TrainedEncoder(folder=folder, version=version, report=report)


@dataclass
class _Task:
    """Texts, model and head of one pretraining."""

    model: Any
    """With its prediction head."""
    adapter: Any | None
    is_head_fresh: bool
    pooling: Pooling
    tokenizer: Any
    aligned: "_Aligned | None"
    tokens: list[list[int]]
    training: LongArray
    lengths: LongArray
    """Tokens of each training text."""
    held_out: LongArray
    config: PretrainingConfig
    seed: int
    device: Device
    aligned_from: int = 0
    """First step of the second objective."""

    def train(
        self, store: CheckpointFolder | None, on_point: Callable[[CurvePoint], None] | None
    ) -> tuple[Any, TrainingReport]:
        """Run the loop; returns the transformer without its head, and the report."""
        encoder = self.model.base_model
        inside = {id(parameter) for parameter in encoder.parameters()}
        head = {f"head.{n}": p for n, p in self.model.named_parameters() if id(p) not in inside}
        starts_at = min(self.config.head_steps, self.config.steps) if self.is_head_fresh else 0
        self.aligned_from = starts_at
        parameters = trainable_parameters(encoder, self.config, "encoder.")
        groups = [ParameterGroup(parameters, self.config.learning_rate, starts_at)]
        if head:
            groups.append(ParameterGroup(head, self.config.head_learning_rate))
        self.model.train()
        loop = TrainingLoop(
            self.config, groups, self.step_cost, self.held_out_loss, self.device, self.seed, store, on_point
        )
        report = loop.run()
        return merge_lora(encoder, self.adapter).eval(), report

    def step_cost(self, step: int) -> StepCost:
        """Loss of the batch of `step`; the second objective joins once the encoder trains."""
        rows = self.training[batch_rows(self.lengths, self.config.batch_size, self.seed, step)]
        loss, _ = self._token_loss(rows, [self.seed, 3, step])
        texts, tokens = len(rows), int(sum(len(self.tokens[row]) for row in rows))
        if self.aligned is not None and step >= self.aligned_from:
            rng = np.random.default_rng([self.seed, 6, step])
            chosen = draw_pairs(self.aligned.cumulative, self.config.align_pairs, rng)
            other, read = self._align_loss(self.aligned, self.aligned.training[chosen])
            loss = self.config.mask_weight * loss + self.config.align_weight * other
            texts, tokens = texts + len(read), tokens + sum(len(ids) for ids in read)
        return StepCost(loss, texts, tokens)

    def held_out_loss(self) -> float | None:
        """Mean over the predicted tokens of the held-out texts, and over held-out pairs; the same every time."""
        if not len(self.held_out):
            return None
        self.model.eval()
        total, count = 0.0, 0
        for first in range(0, len(self.held_out), _HELD_OUT_BATCH):
            loss, predicted = self._token_loss(self.held_out[first : first + _HELD_OUT_BATCH], [self.seed, 4, first])
            total, count = total + loss.item() * predicted, count + predicted
        mean = total / max(count, 1)
        if self.aligned is not None and len(self.aligned.held_out):
            mean = self.config.mask_weight * mean + self.config.align_weight * self._held_out_alignment(self.aligned)
        self.model.train()
        return mean

    def _held_out_alignment(self, aligned: "_Aligned") -> float:
        size, total = self.config.align_pairs, 0.0
        for first in range(0, len(aligned.held_out), size):
            chosen = aligned.held_out[first : first + size]
            total += self._align_loss(aligned, chosen)[0].item() * len(chosen)
        return total / len(aligned.held_out)

    def _align_loss(self, aligned: "_Aligned", chosen: LongArray) -> tuple[torch.Tensor, list[list[int]]]:
        """Contrastive loss of pairs, and what was read for it."""
        pairs = aligned.pairs
        candidates = np.unique(np.concatenate([pairs.anchors[chosen], pairs.positives[chosen]]))
        read = [aligned.tokens[row] for row in candidates]
        ids, mask = pad(read, self.tokenizer.pad_token_id, torch.device("cpu"))
        pooled = pool(self._hidden(ids, mask).float(), mask.to(self.device.target), self.pooling)
        vectors = torch.nn.functional.normalize(pooled, dim=-1)
        temperature = self.config.align_temperature
        return pair_loss(pairs, chosen, candidates, vectors, aligned.log_shares, temperature), read

    def _token_loss(self, rows: LongArray, seeds: list[int]) -> tuple[torch.Tensor, int]:
        """Loss of the texts' hidden tokens, and how many it is the mean of."""
        ids, mask = pad([self.tokens[row] for row in rows], self.tokenizer.pad_token_id, torch.device("cpu"))
        read, labels = self._hide(ids, mask, seeds)
        return token_loss(self.model, self._hidden(read, mask), labels), int((labels != IGNORED).sum())

    def _hide(self, ids: torch.Tensor, mask: torch.Tensor, seeds: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """What the model reads, and the token that each position has to predict."""
        if not is_masked(self.model.config):
            following = ids.roll(-1, dims=1).masked_fill(mask.roll(-1, dims=1) == 0, IGNORED)
            following[:, -1] = IGNORED
            return ids, following
        generator = torch.Generator().manual_seed(int(np.random.default_rng(seeds).integers(2**62)))
        special = torch.tensor(self.tokenizer.all_special_ids)
        token, size = self.tokenizer.mask_token_id, len(self.tokenizer)
        return mask_tokens(ids, mask, special, token, size, self.config.mask_share, generator)

    def _hidden(self, read: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        target = self.device.target
        output = self.model.base_model(input_ids=read.to(target), attention_mask=mask.to(target))
        hidden: torch.Tensor = output.last_hidden_state
        return hidden


@dataclass(frozen=True)
class _Aligned:
    """Tokenised input of the second objective."""

    pairs: EngagementPairs
    tokens: list[list[int]]
    training: LongArray
    held_out: LongArray
    cumulative: DoubleArray
    """Running sum of the training pairs' weights, to draw by."""
    log_shares: DoubleArray
    """Log of the expected number of times that each item is a candidate of a step, shape (items,)."""


def _prepare_alignment(
    alignment: Alignment | None, tokenizer: Any, config: PretrainingConfig, seed: int
) -> _Aligned | None:
    if alignment is None or not config.align_weight or alignment.pairs.count < 2:
        return None
    pairs = alignment.pairs
    training, held_out = split_held_out(pairs.count, config.held_out, seed)
    return _Aligned(
        pairs=pairs,
        tokens=token_ids(tokenizer, alignment.texts, config.max_tokens),
        training=training,
        held_out=held_out,
        cumulative=np.cumsum(pairs.weights[training]),
        log_shares=np.log(np.maximum(config.align_pairs * sampling_shares(pairs), 1e-9)),
    )


def _prepare(
    texts: list[str],
    alignment: Alignment | None,
    folder: Path,
    tokenizer: Any,
    config: PretrainingConfig,
    seed: int,
    device: Device,
) -> _Task:
    model, is_fresh = load_with_head(folder, seed)
    if is_masked(model.config) and tokenizer.mask_token_id is None:
        raise WeightsError(f"the tokenizer in {folder} has no mask token, which masked pretraining needs; add one")
    adapter = add_lora(model.base_model, config)
    special = set(tokenizer.all_special_ids)
    tokens = [ids for ids in token_ids(tokenizer, texts, config.max_tokens) if not special.issuperset(ids)]
    if not tokens:
        raise DataError("no text has a token that the encoder's tokenizer knows; set pretraining.steps to 0 to skip it")
    training, held_out = split_held_out(len(tokens), config.held_out, seed)
    return _Task(
        model=model.to(device.target),
        adapter=adapter,
        is_head_fresh=is_fresh,
        pooling=choose_pooling(folder, model.config),
        tokenizer=tokenizer,
        aligned=_prepare_alignment(alignment, tokenizer, config, seed),
        tokens=tokens,
        training=training,
        lengths=np.array([len(tokens[row]) for row in training], dtype=np.int64),
        held_out=held_out,
        config=config,
        seed=seed,
        device=device,
    )
