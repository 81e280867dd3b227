"""Contrastive fine-tuning: texts of items that the same users choose move together.

InfoNCE (arXiv 1807.03748) over all items of a step as candidates, with the correction for sampling frequency of
Yi et al. (RecSys 2019), hard negatives from the positives' categories, and the user's own items kept from being
negatives.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.checkpoints import CheckpointFolder
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
from models.interactions import BoolArray, LongArray
from models.language_model import TextEncoder, choose_pooling, load_tokenizer, load_transformer, save_encoder, token_ids
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

    Raises:
        WeightsError: the starting weights are unusable.
        DataError: the loss is not a number.
    """
    weights, place = find_weights(str(setting), sha256), device or choose_device()
    tokenizer = load_tokenizer(weights.folder)
    model = load_transformer(weights.folder)
    pooling = choose_pooling(weights.folder, model.config)
    with torch_threads(threads):
        if pairs.count < 2 or not config.steps:
            why = "fewer than two pairs of items that one user chose" if config.steps else "steps = 0"
            report = TrainingReport(0, 0, (), skipped=why)
        else:
            store = None
            if checkpoint_folder is not None:
                parts = [*texts, *(str(array.tolist()) for array in (pairs.anchors, pairs.positives, pairs.users))]
                key = training_fingerprint("finetuned", weights.version, config, seed, parts)
                store = CheckpointFolder(checkpoint_folder, key)
            adapter = add_lora(model, config)
            encoder = TextEncoder(
                model.to(place.target).train(), tokenizer, pooling, place, config.max_tokens, weights.version
            )
            report = _Task.prepare(pairs, texts, encoder, config, seed).train(store, on_point)
            model = merge_lora(model, adapter)
    facts = {
        "stage": "finetuned",
        "base": weights.version,
        "config": asdict(config),
        "seed": seed,
        "pooling": pooling,
        "skipped": report.skipped,
    }
    version = save_encoder(folder, model.to("cpu").eval(), tokenizer, facts)
    return TrainedEncoder(folder=folder, version=version, report=report)


def contrastive_loss(
    vectors: torch.Tensor,
    queries: torch.Tensor,
    targets: torch.Tensor,
    is_excluded: torch.Tensor,
    log_shares: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """Mean of `-log softmax(cosine / temperature - log_shares)` at the target.

    Args:
        vectors: Unit vectors of the candidates, shape (candidates, dimension).
        queries: Candidate row of each query, shape (queries,).
        targets: Candidate row of each query's positive, shape (queries,).
        is_excluded: Candidates that are no negatives of a query, shape (queries, candidates); false at the target.
        log_shares: What is taken off each candidate's logit, shape (candidates,).
        temperature: Divides the cosines.
    """
    logits = vectors[queries] @ vectors.T / temperature - log_shares
    return nn.functional.cross_entropy(logits.masked_fill(is_excluded, float("-inf")), targets)


def excluded_candidates(
    pairs: EngagementPairs, chosen: LongArray, candidates: LongArray, queries: LongArray, targets: LongArray
) -> BoolArray:
    """False negatives: candidates that the pair's user chose, and the query itself; never the target.

    Args:
        pairs: All pairs.
        chosen: Pair of each query, shape (queries,).
        candidates: Distinct item rows, shape (candidates,).
        queries: Candidate row of each query.
        targets: Candidate row of each target.

    Returns:
        Mask of shape (queries, candidates).
    """
    place = np.full(len(pairs.categories), -1, dtype=np.int64)
    place[candidates] = np.arange(len(candidates))
    excluded = np.zeros((len(chosen), len(candidates)), dtype=bool)
    for row, pair in enumerate(chosen):
        own = place[pairs.items_of(int(pairs.users[pair]))]
        excluded[row, own[own >= 0]] = True
    rows = np.arange(len(chosen))
    excluded[rows, queries] = True
    excluded[rows, targets] = False
    return excluded


@dataclass
class _Task:
    """Pairs, tokens and encoder of one fine-tuning."""

    pairs: EngagementPairs
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
        return cls(
            pairs=pairs,
            tokens=token_ids(encoder.tokenizer, texts, config.max_tokens),
            encoder=encoder,
            config=config,
            seed=seed,
            training=training,
            cumulative=np.cumsum(pairs.weights[training]),
            held_out=held_out,
            members={int(code): part for code, part in zip(known, parts, strict=True) if code != NO_CATEGORY},
            log_shares=config.popularity_correction * np.log(np.maximum(expected, 1e-9)),
        )

    def train(self, store: CheckpointFolder | None, on_point: Callable[[CurvePoint], None] | None) -> TrainingReport:
        """Run the loop on the encoder in place."""
        parameters = trainable_parameters(self.encoder.model, self.config)
        groups = [ParameterGroup(parameters, self.config.learning_rate)]
        device = self.encoder.device
        loop = TrainingLoop(self.config, groups, self.step_cost, self.held_out_loss, device, self.seed, store, on_point)
        return loop.run()

    def step_cost(self, step: int) -> StepCost:
        """Loss of the pairs of `step`, drawn by their weights."""
        rng = np.random.default_rng([self.seed, 3, step])
        draws = rng.random(self.config.batch_size) * self.cumulative[-1]
        places = np.minimum(np.searchsorted(self.cumulative, draws, side="right"), len(self.training) - 1)
        return self._cost(np.unique(self.training[places]), rng)

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

    def _cost(self, chosen: LongArray, rng: np.random.Generator) -> StepCost:
        """Loss in both directions: from the earlier item to the later one, and back."""
        anchors, positives = self.pairs.anchors[chosen], self.pairs.positives[chosen]
        candidates = np.unique(np.concatenate([anchors, positives, self._hard_negatives(positives, rng)]))
        tokens = [self.tokens[row] for row in candidates]
        vectors = self.encoder.embed(tokens)
        here, there = np.searchsorted(candidates, anchors), np.searchsorted(candidates, positives)
        shares = torch.from_numpy(self.log_shares[candidates]).float().to(vectors.device)
        losses = []
        for queries, targets in ((here, there), (there, here)):
            excluded = excluded_candidates(self.pairs, chosen, candidates, queries, targets)
            query, target, mask = (torch.from_numpy(part).to(vectors.device) for part in (queries, targets, excluded))
            losses.append(contrastive_loss(vectors, query, target, mask, shares, self.config.temperature))
        return StepCost(torch.stack(losses).mean(), len(candidates), sum(len(ids) for ids in tokens))

    def _hard_negatives(self, positives: LongArray, rng: np.random.Generator) -> LongArray:
        """Items of the categories of randomly drawn positives; fewer where categories are unknown."""
        codes = self.pairs.categories[rng.choice(positives, size=self.config.hard_negatives)]
        found = [rng.choice(self.members[int(code)]) for code in codes if int(code) in self.members]
        return np.array(found, dtype=np.int64)
