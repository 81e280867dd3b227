"""The network alone: causality, the frequency filter, item vectors, and its configuration."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.errors import ConfigurationError
from models.sequence_encoder import SequenceConfig, SequenceEncoder
from models.sequence_items import INITIAL_TEXT_NORM, ItemVectors, TextProjection, centred_text, mean_text
from models.sequence_layers import low_pass_matrix

SMALL = SequenceConfig(embedding_size=8, heads=2, max_length=12, logits="dot")


def make_encoder(config: SequenceConfig = SMALL, *, items: int = 5, text_size: int = 0) -> SequenceEncoder:
    torch.manual_seed(0)
    return SequenceEncoder(config, ItemVectors(config, items, text_size)).eval()


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_later_item_does_not_change_earlier_states(norm: str, share: float) -> None:
    encoder = make_encoder(replace(SMALL, norm=norm, frequency_share=share))
    inputs = torch.randn(3, 12, 8)
    changed = inputs.clone()
    changed[:, 7:] = torch.randn(3, 5, 8)
    with torch.no_grad():
        before, after = encoder(inputs), encoder(changed)
    torch.testing.assert_close(before[:, :7], after[:, :7], rtol=0, atol=1e-6)
    assert (before[:, 7:] - after[:, 7:]).abs().max() > 0.01


def test_padding_on_the_right_does_not_matter() -> None:
    encoder, inputs = make_encoder(), torch.randn(2, 5, 8)
    with torch.no_grad():
        padded = encoder(torch.cat([inputs, torch.randn(2, 7, 8)], dim=1))
        torch.testing.assert_close(encoder(inputs), padded[:, :5], rtol=0, atol=1e-6)


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_state_of_one_place_alone_is_that_among_all(blocks: int, norm: str, share: float) -> None:
    encoder = make_encoder(replace(SMALL, blocks=blocks, norm=norm, frequency_share=share))
    inputs, places = torch.randn(4, 9, 8), torch.tensor([0, 8, 3, 5])
    with torch.no_grad():
        alone, among = encoder(inputs, places=places), encoder(inputs)
    assert alone.shape == (4, 1, 8)
    torch.testing.assert_close(alone[:, 0], among[torch.arange(4), places], rtol=0, atol=1e-5)


@pytest.mark.parametrize("cutoff", [1, 2, 5, 9])
def test_filter_equals_the_fourier_transform_at_the_last_place(cutoff: int) -> None:
    window, history = 12, torch.randn(7, dtype=torch.float64)
    padded = torch.cat([torch.zeros(window - 7, dtype=torch.float64), history])
    spectrum = torch.fft.rfft(padded)
    spectrum[cutoff // 2 + 1 :] = 0
    expected = torch.fft.irfft(spectrum, n=window)[-1]
    filtered = low_pass_matrix(7, window, cutoff).double() @ history
    torch.testing.assert_close(filtered[-1], expected, rtol=0, atol=1e-6)


def test_cosine_logits_are_bounded_by_the_temperature() -> None:
    config = replace(SMALL, logits="cosine", temperature=0.1)
    encoder = make_encoder(config)
    vectors = encoder.items(torch.arange(5), None)
    states = encoder(vectors[None, :, :])
    assert (states[0] @ vectors.T).abs().max() <= 10.001
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(5))


def test_an_item_outside_the_vocabulary_is_its_text() -> None:
    items = ItemVectors(replace(SMALL, item_source="joint"), 5, 6).eval()
    text = torch.randn(2, 6)
    both = items(torch.tensor([-1, 3]), text)
    assert items.projection is not None
    assert items.ids is not None
    torch.testing.assert_close(both[0], items.projection(text)[0])
    torch.testing.assert_close(both[1], items.projection(text)[1] + items.ids[3])


def test_an_item_without_id_and_text_is_zero() -> None:
    items = ItemVectors(replace(SMALL, item_source="joint", text_hidden=4, logits="cosine"), 5, 6).eval()
    text = torch.cat([torch.zeros(1, 6), torch.ones(2, 6)])
    assert mean_text(text).tolist() == [1.0] * 6
    assert not items(torch.tensor([-1, -1, -1]), centred_text(text, torch.full((6,), 0.5)))[0].any()


def test_projection_starts_at_the_principal_components() -> None:
    rng = np.random.default_rng(0)
    scales = np.array([5.0, 3.0, 1.0, 0.1, 0.1])
    text = torch.from_numpy((rng.normal(size=(500, 5)) * scales + 2.0).astype(np.float32))
    projection = TextProjection(replace(SMALL, embedding_size=2), 5)
    text = centred_text(text, mean_text(text))
    projection.start_at_components(text)
    directions = projection.output.weight / projection.output.weight.norm(dim=1, keepdim=True)
    torch.testing.assert_close(directions.abs()[:, :2], torch.eye(2), rtol=0, atol=0.1)
    assert float(projection(text).norm(dim=1).mean().detach()) == pytest.approx(INITIAL_TEXT_NORM, rel=1e-3)


def test_id_dropout_leaves_the_text_alone_in_training() -> None:
    items = ItemVectors(replace(SMALL, item_source="joint", id_dropout=0.5), 200, 6).train()
    text = torch.randn(200, 6)
    assert items.projection is not None
    is_text = (items(torch.arange(200), text) == items.projection(text)).all(dim=1)
    assert 0.3 < float(is_text.float().mean()) < 0.7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 3}, "heads 3 must divide embedding_size 8"),
        ({"dropout": 1.0}, "sequence.dropout is 1.0"),
        ({"epochs": 0}, "sequence.epochs is 0"),
        ({"frequency_share": 1.5}, "frequency_share is 1.5"),
        ({"learning_rate": 0.0}, "must be above 0"),
        ({"patience": -1}, "patience is -1"),
        ({"loss": "bce"}, "sequence.loss is 'bce'; choose from auto, full, sampled"),
    ],
)
def test_values_that_cannot_work_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        replace(SMALL, **change)
