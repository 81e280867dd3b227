"""Zero-shot ranking by a language model: how probable is a candidate's title after the history told in words?

The prompt is the one that pretraining reads, `chose a, then b, then`; a masked model fills in the title's tokens
(pseudo-log-likelihood, arXiv 1910.14659), a causal one continues. Taking off the title's log-probability without a
history leaves what the history says about it, so that plain words do not win (arXiv 2104.08315). One forward pass for
each user and candidate: a baseline for a sample of users and a few candidates, no retriever.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch

from models.behaviour_text import TITLE_WORDS
from models.device import Device, choose_device
from models.encoder_config import LoopConfig, PretrainingConfig
from models.encoder_training import batch_rows
from models.encoder_weights import find_weights
from models.errors import WeightsError
from models.interactions import PADDING, FloatArray, Histories, IntArray, LongArray
from models.language_model import is_masked, load_tokenizer, pad, token_ids
from models.language_model_heads import head_of, load_with_head, mask_tokens, token_loss
from models.training_loop import ParameterGroup, StepCost, TrainingLoop

Masking = Literal["together", "one_by_one"]


@dataclass(frozen=True)
class PromptConfig:
    """How a prompt is made and read."""

    history_items: int = 4
    """Latest items of the history that the prompt names."""
    verb: str = "chose"
    """First word of the prompt."""
    masking: Masking = "together"
    """Masked models: hide all tokens of a title at once (one pass), or each in turn (as many passes as tokens)."""
    removes_prior: bool = True
    """Take off the title's score after the verb alone."""
    batch_size: int = 64
    """Sequences in one forward pass."""


@dataclass
class PromptScorer:
    """A language model with its prediction head."""

    model: Any
    tokenizer: Any
    device: Device
    config: PromptConfig

    @classmethod
    def load(
        cls,
        setting: str | Path,
        texts: Sequence[str],
        *,
        seed: int,
        config: PromptConfig | None = None,
        head: PretrainingConfig | None = None,
        device: Device | None = None,
    ) -> Self:
        """Load a model; where it comes without a prediction head, as sentence encoders do, train one on `texts`.

        Args:
            setting: Weights, see `models.encoder_weights.find_weights`.
            texts: Item texts and behaviour, only what training may see; read only where the head is missing.
            seed: Of the head's training.
            config: Prompt and reading.
            head: `head_steps`, `head_learning_rate`, `batch_size`, `mask_share` and `max_tokens` of that training.
            device: Where to compute; None chooses.

        Raises:
            WeightsError: the weights are unusable, or a masked model's tokenizer has no mask.
        """
        weights, place = find_weights(str(setting)), device or choose_device()
        model, is_fresh = load_with_head(weights.folder, seed)
        tokenizer = load_tokenizer(weights.folder)
        if is_masked(model.config) and tokenizer.mask_token_id is None:
            raise WeightsError(f"the tokenizer in {weights.folder} has no mask token, which prompt scoring needs")
        model = model.to(place.target)
        if is_fresh and is_masked(model.config):
            _train_head(model, tokenizer, texts, head or PretrainingConfig(), seed, place)
        return cls(model.eval(), tokenizer, place, config or PromptConfig())

    def rank(self, histories: Histories, titles: Sequence[str], candidates: IntArray) -> IntArray:
        """Candidates of each user in the order of their scores, ties in the order given.

        Args:
            histories: The users.
            titles: Title or text of each item row.
            candidates: Item rows, shape (users, places), `PADDING` behind the end.
        """
        scores = np.where(candidates == PADDING, -np.inf, self.score(histories, titles, candidates))
        return np.take_along_axis(candidates, np.argsort(-scores, axis=1, kind="stable"), axis=1)

    def score(self, histories: Histories, titles: Sequence[str], candidates: IntArray) -> FloatArray:
        """Mean log-probability of a title's tokens after the history, shape of `candidates`; 0 on padding.

        With `removes_prior` less the same after the verb alone. A candidate without a title scores lowest.
        """
        short = [" ".join(title.split()[:TITLE_WORDS]) for title in titles]
        users, places = np.nonzero(candidates != PADDING)
        rows = candidates[users, places]
        prompts = [self._prompt(history, short) for history in histories.items]
        values = self._log_likelihoods([prompts[user] for user in users], [short[row] for row in rows])
        if self.config.removes_prior:
            distinct, where = np.unique(rows, return_inverse=True)
            prior = self._log_likelihoods([self.config.verb] * len(distinct), [short[row] for row in distinct])
            values = values - prior[where]
        scores = np.zeros(candidates.shape, dtype=np.float32)
        lowest = float(values[np.isfinite(values)].min(initial=0.0)) - 1.0
        scores[users, places] = np.where(np.isfinite(values), values, lowest)
        return scores

    def _prompt(self, history: IntArray, titles: Sequence[str]) -> str:
        known = [titles[row] for row in history[history != PADDING] if titles[row]]
        return " ".join([self.config.verb, *(f"{title}, then" for title in known[-self.config.history_items :])])

    def _log_likelihoods(self, prompts: list[str], titles: list[str]) -> FloatArray:
        """Mean log-probability of each title's tokens after its prompt; minus infinity for an empty title."""
        before = token_ids(self.tokenizer, prompts, self._limit)
        after = [self._title_tokens(title) for title in titles]
        sequences, positions, owners = [], [], []
        for owner, (prompt, title) in enumerate(zip(before, after, strict=True)):
            if not title:
                continue
            # The prompt loses its end token, which masked models want behind the title instead.
            has_end = prompt[-1] == self.tokenizer.sep_token_id
            start = prompt[:-1] if has_end else prompt
            start = start[: self._limit - len(title) - 1]
            whole = start + title + ([prompt[-1]] if has_end else [])
            hidden = list(range(len(start), len(start) + len(title)))
            one_by_one = is_masked(self.model.config) and self.config.masking == "one_by_one"
            for group in [[place] for place in hidden] if one_by_one else [hidden]:
                sequences.append(whole)
                positions.append(group)
                owners.append(owner)
        sums = np.bincount(owners, self._sums(sequences, positions), minlength=len(titles)) if owners else 0.0
        counts = np.array([len(title) for title in after], dtype=np.float64)
        return np.where(counts > 0, sums / np.maximum(counts, 1), -np.inf).astype(np.float32)

    def _sums(self, sequences: list[list[int]], positions: list[list[int]]) -> FloatArray:
        """Sum of the log-probabilities of the tokens at `positions` of each sequence."""
        sums = np.zeros(len(sequences), dtype=np.float32)
        order = np.argsort([len(sequence) for sequence in sequences], kind="stable")
        for begin in range(0, len(order), self.config.batch_size):
            chosen = order[begin : begin + self.config.batch_size]
            sums[chosen] = self._batch_sums([sequences[row] for row in chosen], [positions[row] for row in chosen])
        return sums

    @torch.inference_mode()
    def _batch_sums(self, sequences: list[list[int]], positions: list[list[int]]) -> FloatArray:
        ids, mask = pad(sequences, self.tokenizer.pad_token_id, self.device.target)
        rows = torch.tensor([row for row, places in enumerate(positions) for _ in places], device=self.device.target)
        columns = torch.tensor([place for places in positions for place in places], device=self.device.target)
        wanted, read = ids[rows, columns], ids
        if is_masked(self.model.config):
            read = ids.clone()
            read[rows, columns] = self.tokenizer.mask_token_id
        else:
            columns = columns - 1  # a causal model predicts a token at the place before it
        hidden = self.model.base_model(input_ids=read, attention_mask=mask).last_hidden_state
        logs = torch.log_softmax(head_of(self.model)(hidden[rows, columns]).float(), dim=-1)
        found = logs.gather(1, wanted[:, None])[:, 0]
        return np.asarray(torch.zeros(len(ids), device=found.device).index_add_(0, rows, found).cpu().numpy())

    def _title_tokens(self, title: str) -> list[int]:
        tokens: list[int] = self.tokenizer(f" {title}", add_special_tokens=False)["input_ids"] if title else []
        return tokens[: self._limit // 2]

    @property
    def _limit(self) -> int:
        return int(getattr(self.model.config, "max_position_embeddings", 512))


def _train_head(
    model: Any, tokenizer: Any, texts: Sequence[str], config: PretrainingConfig, seed: int, device: Device
) -> None:
    """Train only the prediction head, in place, while the encoder stays as it is."""
    inside = {id(parameter) for parameter in model.base_model.parameters()}
    head = {name: value for name, value in model.named_parameters() if id(value) not in inside}
    model.base_model.requires_grad_(False)
    tokens = token_ids(tokenizer, [text for text in texts if text.strip()], config.max_tokens)
    lengths: LongArray = np.array([len(ids) for ids in tokens], dtype=np.int64)
    special = torch.tensor(tokenizer.all_special_ids)

    def cost(step: int) -> StepCost:
        rows = batch_rows(lengths, config.batch_size, seed, step)
        ids, mask = pad([tokens[row] for row in rows], tokenizer.pad_token_id, torch.device("cpu"))
        generator = torch.Generator().manual_seed(int(np.random.default_rng([seed, 3, step]).integers(2**62)))
        size, share = len(tokenizer), config.mask_share
        read, labels = mask_tokens(ids, mask, special, tokenizer.mask_token_id, size, share, generator)
        hidden = model.base_model(
            input_ids=read.to(device.target), attention_mask=mask.to(device.target)
        ).last_hidden_state
        return StepCost(token_loss(model, hidden, labels), len(rows), int(mask.sum()))

    loop = LoopConfig(steps=config.head_steps, batch_size=config.batch_size, checkpoint_every=0)
    model.eval()  # dropout would only blur what the frozen encoder says
    TrainingLoop(loop, [ParameterGroup(head, config.head_learning_rate)], cost, lambda: None, device, seed).run()
