"""Domain-adaptive pretraining: the encoder reads item texts and behaviour until the domain's words fit it.

Encoders predict masked tokens (BERT, arXiv 1810.04805; domain adaptation, arXiv 2004.10964), decoders the next token.
Sentence encoders come without a prediction head. A fresh one first trains alone, while the encoder is frozen: its
random gradients would otherwise undo what the encoder knows.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING, AutoConfig

from models.checkpoints import CheckpointFolder
from models.device import Device, choose_device, seeded, torch_threads
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
from models.errors import DataError, WeightsError
from models.interactions import LongArray
from models.language_model import (
    choose_pooling,
    is_masked,
    load_tokenizer,
    load_transformer,
    pad,
    quiet_transformers,
    save_encoder,
    token_ids,
)
from models.training_loop import CurvePoint, ParameterGroup, StepCost, TrainingLoop, TrainingReport

IGNORED = -100
"""Label of a token that is not predicted (the convention of `torch.nn.functional.cross_entropy`)."""
_HELD_OUT_BATCH = 64


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
                key = training_fingerprint("pretrained", weights.version, config, seed, readable)
                store = CheckpointFolder(checkpoint_folder, key)
            task = _prepare(readable, weights.folder, tokenizer, config, seed, place)
            model, report = task.train(store, on_point)
    facts |= {"pooling": choose_pooling(weights.folder, model.config), "skipped": report.skipped}
    version = save_encoder(folder, model.to("cpu"), tokenizer, facts)
    return TrainedEncoder(folder=folder, version=version, report=report)


def mask_tokens(
    ids: torch.Tensor,
    mask: torch.Tensor,
    special: torch.Tensor,
    mask_token: int,
    vocabulary: int,
    share: float,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hide tokens for prediction: of the chosen ones 80 % become the mask, 10 % a random token, 10 % stay.

    Args:
        ids: Token numbers on the CPU, shape (texts, tokens).
        mask: 1 for real tokens, same shape.
        special: Token numbers that are never chosen, shape (specials,).
        mask_token: Number of the mask.
        vocabulary: Number of tokens.
        share: Share of tokens to choose; at least one in every text that has a choosable one.
        generator: Source of chance.

    Returns:
        What the model reads, and what it has to predict (`IGNORED` elsewhere), both of the shape of `ids`.
    """
    is_choosable = mask.bool() & ~torch.isin(ids, special)
    draws = torch.rand(ids.shape, generator=generator).masked_fill(~is_choosable, 2.0)
    is_lowest = draws == draws.min(dim=1, keepdim=True).values
    is_chosen = is_choosable & ((draws < share) | is_lowest)
    fate = torch.rand(ids.shape, generator=generator)
    random_ids = torch.randint(vocabulary, ids.shape, generator=generator)
    read = torch.where(is_chosen & (fate < 0.8), mask_token, ids)
    read = torch.where(is_chosen & (fate >= 0.8) & (fate < 0.9), random_ids, read)
    return read, torch.where(is_chosen, ids, IGNORED)


@dataclass
class _Task:
    """Texts, model and head of one pretraining."""

    model: Any
    """With its prediction head."""
    adapter: Any | None
    is_head_fresh: bool
    tokenizer: Any
    tokens: list[list[int]]
    training: LongArray
    lengths: LongArray
    """Tokens of each training text."""
    held_out: LongArray
    config: PretrainingConfig
    seed: int
    device: Device

    def train(
        self, store: CheckpointFolder | None, on_point: Callable[[CurvePoint], None] | None
    ) -> tuple[Any, TrainingReport]:
        """Run the loop; returns the transformer without its head, and the report."""
        encoder = self.model.base_model
        inside = {id(parameter) for parameter in encoder.parameters()}
        head = {f"head.{n}": p for n, p in self.model.named_parameters() if id(p) not in inside}
        starts_at = min(self.config.head_steps, self.config.steps) if self.is_head_fresh else 0
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
        """Loss of the batch of `step`, mean over its predicted tokens."""
        rows = self.training[batch_rows(self.lengths, self.config.batch_size, self.seed, step)]
        loss, _ = self._loss(rows, [self.seed, 3, step])
        return StepCost(loss, len(rows), int(sum(len(self.tokens[row]) for row in rows)))

    def held_out_loss(self) -> float | None:
        """Mean over the predicted tokens of the held-out texts; the same tokens every time."""
        if not len(self.held_out):
            return None
        self.model.eval()
        total, count = 0.0, 0
        for first in range(0, len(self.held_out), _HELD_OUT_BATCH):
            loss, predicted = self._loss(self.held_out[first : first + _HELD_OUT_BATCH], [self.seed, 4, first])
            total, count = total + loss.item() * predicted, count + predicted
        self.model.train()
        return total / max(count, 1)

    def _loss(self, rows: LongArray, seeds: list[int]) -> tuple[torch.Tensor, int]:
        ids, mask = pad([self.tokens[row] for row in rows], self.tokenizer.pad_token_id, torch.device("cpu"))
        if not is_masked(self.model.config):
            labels = ids.masked_fill(mask == 0, IGNORED)
            return self._next_token_loss(ids, mask, labels), int((labels[:, 1:] != IGNORED).sum())
        generator = torch.Generator().manual_seed(int(np.random.default_rng(seeds).integers(2**62)))
        special = torch.tensor(self.tokenizer.all_special_ids)
        token, size = self.tokenizer.mask_token_id, len(self.tokenizer)
        read, labels = mask_tokens(ids, mask, special, token, size, self.config.mask_share, generator)
        return self._masked_loss(read, mask, labels), int((labels != IGNORED).sum())

    def _masked_loss(self, read: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Cross-entropy at the predicted positions only: logits of the others would cost most of the step."""
        target = self.device.target
        hidden = self.model.base_model(input_ids=read.to(target), attention_mask=mask.to(target)).last_hidden_state
        is_predicted = labels != IGNORED
        logits = _head_of(self.model)(hidden[is_predicted.to(target)])
        return nn.functional.cross_entropy(logits.float(), labels[is_predicted].to(target))

    def _next_token_loss(self, ids: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        target = self.device.target
        logits = self.model(input_ids=ids.to(target), attention_mask=mask.to(target)).logits[:, :-1].float()
        return nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten().to(target))


def _prepare(
    texts: list[str], folder: Path, tokenizer: Any, config: PretrainingConfig, seed: int, device: Device
) -> _Task:
    model, is_fresh = _load_with_head(folder, seed)
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
        tokenizer=tokenizer,
        tokens=tokens,
        training=training,
        lengths=np.array([len(tokens[row]) for row in training], dtype=np.int64),
        held_out=held_out,
        config=config,
        seed=seed,
        device=device,
    )


def _load_with_head(folder: Path, seed: int) -> tuple[Any, bool]:
    """The transformer with a prediction head, and whether that head is new (the folder had none)."""
    load_transformer(folder)  # proves that the weights fit, with a precise error
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    mapping = MODEL_FOR_MASKED_LM_MAPPING if is_masked(config) else MODEL_FOR_CAUSAL_LM_MAPPING
    kind: Any = mapping[type(config)]
    with quiet_transformers(), seeded(seed):
        model, report = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    return model, bool(report["missing_keys"])


def _head_of(model: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """The modules from token vector to logits, under the names that `transformers` gives them."""
    for name in ("cls", "lm_head"):
        if hasattr(model, name):
            head: Callable[[torch.Tensor], torch.Tensor] = getattr(model, name)
            return head
    if hasattr(model, "head") and hasattr(model, "decoder"):
        return lambda hidden: torch.as_tensor(model.decoder(model.head(hidden)))
    if hasattr(model, "vocab_transform"):
        return lambda hidden: torch.as_tensor(
            model.vocab_projector(model.vocab_layer_norm(model.activation(model.vocab_transform(hidden))))
        )
    raise DataError(
        f"masked pretraining does not know the head of {type(model).__name__}; set pretraining.steps to 0 to skip it"
    )
