"""Contrastive fine-tuning: texts of items that the same users choose move together.

InfoNCE (arXiv 1807.03748) over all items of a step as candidates, with the correction for sampling frequency of
Yi et al. (RecSys 2019), hard negatives from the positives' categories, and the user's own items kept from being
negatives. Beside it the category of the next item and the type of its event can be predicted, and texts can be read
with parts left out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.auxiliary_tasks import AuxiliaryTask, auxiliary_tasks
from models.checkpoints import CheckpointFolder
from models.contrastive import draw_pairs, pair_loss
from models.device import Device, choose_device, torch_threads
from models.encoder_config import FinetuningConfig
from models.encoder_training import (
    TrainedEncoder,
    add_lora,
    merge_lora,
    split_held_out,
    trainable_parameters,
    training_fingerprint,
)
from models.encoder_weights import find_weights
from models.engagement_pairs import (
    NO_CATEGORY,
    DoubleArray,
    EngagementPairs,
    hard_negative_shares,
    sampling_shares,
)
from models.interactions import LongArray
from models.language_model import TextEncoder, choose_pooling, load_tokenizer, load_transformer, save_encoder, token_ids
from models.text_augmentation import augmented
from models.training_loop import CurvePoint, ParameterGroup, StepCost, TrainingLoop, TrainingReport


def finetune(
    pairs: EngagementPairs,
    texts: Sequence[str],
    setting: str | Path,
    config: FinetuningConfig,
    *,
    seed: int,
    folder: Path,
    checkpoint_folder: Path | None = None,
    device: Device | None = None,
    threads: int | None = None,
    sha256: str = "",
    on_point: Callable[[CurvePoint], None] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> TrainedEncoder:
    """Fine-tune an encoder on engagement.

    Args:
        pairs: From `engagement_pairs`, made of interactions that training may see.
        texts: Text of every item row.
        setting: Weights to start from; usually the folder of the pretrained encoder.
        config: Hyper-parameters.
        seed: Decides every random choice.
        folder: New folder for the result.
        checkpoint_folder: Where to keep checkpoints; a run that was killed resumes from it with the same result.
        device: Where to train; None chooses.
        threads: CPU threads; None leaves torch's setting.
        sha256: Expected hash of the starting weights.
        on_point: Called with every point of the loss curve.
        origin: Facts on where the training stands among others, kept with the weights.

    Raises:
        WeightsError: the starting weights are unusable.
        DataError: the loss is not a number.
    """
    weights, place = find_weights(str(setting), sha256), device or choose_device()
    tokenizer = load_tokenizer(weights.folder)
    model = load_transformer(weights.folder)
    pooling = choose_pooling(weights.folder, model.config)
    skipped_tasks: dict[str, str] = {}
    with torch_threads(threads):
        if pairs.count < 2 or not config.steps:
            why = "fewer than two pairs of items that one user chose" if config.steps else "steps = 0"
            report = TrainingReport(0, 0, (), skipped=why)
        else:
            store = None
            if checkpoint_folder is not None:
                key = training_fingerprint("finetuned", weights.version, config, seed, [*texts, *pairs.parts()])
                store = CheckpointFolder(checkpoint_folder, key)
            adapter = add_lora(model, config)
            encoder = TextEncoder(
                model.to(place.target).train(), tokenizer, pooling, place, config.max_tokens, weights.version
            )
            task = _Task.prepare(pairs, texts, encoder, config, seed)
            report = task.train(store, on_point)
            model, skipped_tasks = merge_lora(model, adapter), task.skipped_tasks
    facts: dict[str, Any] = {"stage": "finetuned", "base": weights.version, "config": asdict(config), "seed": seed}
    facts |= {"pooling": pooling, "skipped": report.skipped, "skipped_tasks": skipped_tasks}
    facts |= {"origin": dict(origin)} if origin else {}
    version = save_encoder(folder, model.to("cpu").eval(), tokenizer, facts)
    return TrainedEncoder(folder=folder, version=version, report=report, skipped_tasks=skipped_tasks)


@dataclass
class _Task:
    """Pairs, tokens and encoder of one fine-tuning."""

    pairs: EngagementPairs
    texts: Sequence[str]
    tokens: list[list[int]]
    encoder: TextEncoder
    config: FinetuningConfig
    seed: int
    training: LongArray
    cumulative: DoubleArray
    """Running sum of the training pairs' weights, to draw by."""
    held_out: LongArray
    members: dict[int, LongArray]
    """Item rows with text of each category."""
    log_shares: DoubleArray
    """Log of the expected number of times that each item is a candidate of a step, shape (items,)."""
    tasks: list[AuxiliaryTask]
    """What is predicted beside the next item."""
    skipped_tasks: dict[str, str]
    """Why a task that was asked for is not learned."""

    @classmethod
    def prepare(
        cls,
        pairs: EngagementPairs,
        texts: Sequence[str],
        encoder: TextEncoder,
        config: FinetuningConfig,
        seed: int,
    ) -> "_Task":
        """Tokenise, split and count."""
        has_text = np.array([bool(text.strip()) for text in texts])
        training, held_out = split_held_out(pairs.count, config.held_out, seed)
        expected = config.batch_size * sampling_shares(pairs)
        expected += config.hard_negatives * hard_negative_shares(pairs, has_text)
        codes = np.where(has_text, pairs.categories, NO_CATEGORY)
        order = np.argsort(codes, kind="stable")
        known, begins = np.unique(codes[order], return_index=True)
        parts = np.split(order, begins[1:])
        tasks, skipped = auxiliary_tasks(pairs, config, encoder.dimension, seed)
        return cls(
            pairs=pairs,
            texts=texts,
            tokens=token_ids(encoder.tokenizer, texts, config.max_tokens),
            encoder=encoder,
            config=config,
            seed=seed,
            training=training,
            cumulative=np.cumsum(pairs.weights[training]),
            held_out=held_out,
            members={int(code): part for code, part in zip(known, parts, strict=True) if code != NO_CATEGORY},
            log_shares=config.popularity_correction * np.log(np.maximum(expected, 1e-9)),
            tasks=tasks,
            skipped_tasks=skipped,
        )

    def train(self, store: CheckpointFolder | None, on_point: Callable[[CurvePoint], None] | None) -> TrainingReport:
        """Run the loop on the encoder in place."""
        parameters = trainable_parameters(self.encoder.model, self.config)
        groups = [ParameterGroup(parameters, self.config.learning_rate)]
        device = self.encoder.device
        for task in self.tasks:
            named = {f"{task.name}.{name}": value for name, value in task.head.to(device.target).named_parameters()}
            groups.append(ParameterGroup(named, self.config.task_learning_rate))
        loop = TrainingLoop(self.config, groups, self.step_cost, self.held_out_loss, device, self.seed, store, on_point)
        return loop.run()

    def step_cost(self, step: int) -> StepCost:
        """Loss of the pairs of `step`, drawn by their weights."""
        rng = np.random.default_rng([self.seed, 3, step])
        return self._cost(
            self.training[draw_pairs(self.cumulative, self.config.batch_size, rng)], rng, is_training=True
        )

    def held_out_loss(self) -> float | None:
        """Mean over the held-out pairs, in batches as in training, with the same negatives every time."""
        if not len(self.held_out):
            return None
        self.encoder.model.eval()
        total = 0.0
        shuffled = np.random.default_rng([self.seed, 4]).permutation(self.held_out)
        for first in range(0, len(shuffled), self.config.batch_size):
            chosen = shuffled[first : first + self.config.batch_size]
            total += self._cost(chosen, np.random.default_rng([self.seed, 5, first])).loss.item() * len(chosen)
        self.encoder.model.train()
        return total / len(shuffled)

    def _cost(self, chosen: LongArray, rng: np.random.Generator, *, is_training: bool = False) -> StepCost:
        anchors, positives = self.pairs.anchors[chosen], self.pairs.positives[chosen]
        candidates = np.unique(np.concatenate([anchors, positives, self._hard_negatives(positives, rng)]))
        tokens = self._read(candidates, rng) if is_training else [self.tokens[row] for row in candidates]
        vectors = self.encoder.embed(tokens)
        loss = pair_loss(self.pairs, chosen, candidates, vectors, self.log_shares, self.config.temperature)
        for task in self.tasks if is_training else []:
            loss = loss + task.loss(vectors[np.searchsorted(candidates, anchors)], chosen)
        return StepCost(loss, len(candidates), sum(len(ids) for ids in tokens))

    def _read(self, rows: LongArray, rng: np.random.Generator) -> list[list[int]]:
        """Tokens of items as a training step reads them, parts left out where the configuration says so."""
        chances = {"field_dropout": self.config.field_dropout, "word_dropout": self.config.word_dropout}
        if not any(chances.values()):
            return [self.tokens[row] for row in rows]
        texts = [augmented(self.texts[row], rng, **chances) for row in rows]
        return token_ids(self.encoder.tokenizer, texts, self.config.max_tokens)

    def _hard_negatives(self, positives: LongArray, rng: np.random.Generator) -> LongArray:
        """Items of the categories of randomly drawn positives; fewer where categories are unknown."""
        codes = self.pairs.categories[rng.choice(positives, size=self.config.hard_negatives)]
        found = [rng.choice(self.members[int(code)]) for code in codes if int(code) in self.members]
        return np.array(found, dtype=np.int64)
