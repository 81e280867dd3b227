"""Titles scored after a prompt, by hand and on planted words."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.device import choose_device
from models.encoder_config import PretrainingConfig
from models.interactions import PADDING, Histories
from models.prompt_scoring import PromptConfig, PromptScorer

CPU = choose_device("cpu")
TITLES = ["red lipstick", "blue polish", "green shampoo", ""]
TEXTS = ["red lipstick for lips"] * 40
CONFIG = PromptConfig(removes_prior=False)


def histories(*rows: list[int]) -> Histories:
    width = max(len(row) for row in rows)
    items = np.array([[PADDING] * (width - len(row)) + row for row in rows], dtype=np.int32)
    return Histories(
        items, np.ones(items.shape, np.float32), np.zeros(items.shape, np.int64), np.full(len(rows), "", dtype=object)
    )


def scorer(folder: Path, config: PromptConfig = CONFIG, steps: int = 1) -> PromptScorer:
    head = PretrainingConfig(head_steps=steps, head_learning_rate=1e-2, batch_size=8, max_tokens=16)
    return PromptScorer.load(folder, TEXTS, seed=1, config=config, head=head, device=CPU)


def test_a_causal_model_scores_the_tokens_of_the_title_by_hand(tiny_decoder: Path) -> None:
    model = scorer(tiny_decoder)
    found = model.score(histories([1]), TITLES, np.array([[0]], dtype=np.int32))[0, 0]
    title = model.tokenizer(" red lipstick", add_special_tokens=False)["input_ids"]
    prompt = model.tokenizer("chose blue polish, then")["input_ids"]
    if prompt[-1] == model.tokenizer.sep_token_id:
        prompt, title = prompt[:-1], [*title, prompt[-1]]
    count = len(model.tokenizer(" red lipstick", add_special_tokens=False)["input_ids"])
    ids = torch.tensor([prompt + title])
    with torch.no_grad():
        logs = torch.log_softmax(model.model(input_ids=ids).logits[0], dim=-1)
    places = range(len(prompt), len(prompt) + count)
    expected = np.mean([logs[place - 1, ids[0, place]].item() for place in places])
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("masking", ["together", "one_by_one"])
def test_a_masked_model_fills_in_the_title_by_hand(tiny_encoder: Path, masking: str) -> None:
    model = scorer(tiny_encoder, PromptConfig(removes_prior=False, masking=masking))  # type: ignore[arg-type]
    found = model.score(histories([1]), TITLES, np.array([[0]], dtype=np.int32))[0, 0]
    tokenizer = model.tokenizer
    title = tokenizer(" red lipstick", add_special_tokens=False)["input_ids"]
    prompt = tokenizer("chose blue polish, then")["input_ids"][:-1]
    ids = torch.tensor([prompt + title + [tokenizer.sep_token_id]])
    places = list(range(len(prompt), len(prompt) + len(title)))
    logs = []
    for hidden in [places] if masking == "together" else [[place] for place in places]:
        read = ids.clone()
        read[0, hidden] = tokenizer.mask_token_id
        with torch.no_grad():
            out = torch.log_softmax(model.model(input_ids=read).logits[0], dim=-1)
        logs += [out[place, ids[0, place]].item() for place in hidden]
    assert found == pytest.approx(np.mean(logs), abs=1e-5)


def test_a_fresh_head_learns_the_words_of_the_domain(tiny_encoder: Path) -> None:
    ranked = scorer(tiny_encoder, steps=60).rank(histories([1], [2]), TITLES, np.array([[2, 0], [1, 0]], np.int32))
    np.testing.assert_array_equal(ranked[:, 0], [0, 0])


def test_the_prior_is_what_the_title_scores_after_the_verb(tiny_encoder: Path) -> None:
    plain = scorer(tiny_encoder)
    candidates = np.array([[0, 1]], dtype=np.int32)
    nothing = plain.score(histories([PADDING]), TITLES, candidates)
    corrected = replace(plain, config=PromptConfig())
    np.testing.assert_allclose(
        corrected.score(histories([2]), TITLES, candidates),
        plain.score(histories([2]), TITLES, candidates) - nothing,
        atol=1e-5,
    )
    np.testing.assert_allclose(corrected.score(histories([PADDING]), TITLES, candidates), 0, atol=1e-6)


def test_padding_and_titleless_candidates_come_last(tiny_encoder: Path) -> None:
    candidates = np.array([[3, PADDING, 1], [0, 3, 2]], dtype=np.int32)
    ranked = scorer(tiny_encoder).rank(histories([0], [1]), TITLES, candidates)
    assert ranked[0].tolist() == [1, 3, PADDING]
    assert ranked[1, 2] == 3


def test_a_user_scores_alike_in_any_batch(tiny_encoder: Path) -> None:
    model = scorer(tiny_encoder, PromptConfig(batch_size=2))
    candidates = np.array([[0, 1, 2], [2, 1, 0]], dtype=np.int32)
    together = model.score(histories([0, 1, 2], [1]), TITLES, candidates)
    alone = model.score(histories([1]), TITLES, candidates[1:])
    np.testing.assert_allclose(alone[0], together[1], atol=1e-5)
