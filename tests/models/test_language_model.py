"""Texts to vectors, with a tiny random encoder and decoder; the packaged one in a slow test."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from models.device import choose_device
from models.encoder_weights import PACKAGED_ENCODER
from models.errors import WeightsError
from models.language_model import ServedEncoder, TextEncoder, pool

CPU = choose_device("cpu")
TEXTS = ["red lipstick", "", "shampoo for hair , blue shampoo for hair", "  ", "polish"]


@pytest.fixture(scope="module")
def encoder(tiny_encoder: Path) -> TextEncoder:
    return TextEncoder.load(tiny_encoder, device=CPU)


def test_vectors_have_unit_length_and_empty_texts_are_zero(encoder: TextEncoder) -> None:
    vectors = encoder.encode(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (5, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0, 1, 0, 1], atol=1e-6)


def test_batches_change_nothing(encoder: TextEncoder) -> None:
    np.testing.assert_allclose(encoder.encode(TEXTS, batch_size=1), encoder.encode(TEXTS), atol=1e-6)


def test_order_of_texts_is_kept(encoder: TextEncoder) -> None:
    np.testing.assert_allclose(encoder.encode(TEXTS[::-1]), encoder.encode(TEXTS)[::-1], atol=1e-6)


def test_no_texts_give_no_vectors(encoder: TextEncoder) -> None:
    assert encoder.encode([]).shape == (0, 16)


def test_progress_reaches_the_number_of_texts(encoder: TextEncoder) -> None:
    seen: list[int] = []
    encoder.encode(["red", "blue", "green"], batch_size=2, on_progress=seen.append)
    assert seen == [2, 3]


def test_long_texts_are_cut(tiny_encoder: Path) -> None:
    short = TextEncoder.load(tiny_encoder, device=CPU, max_tokens=8)
    vectors = short.encode(["red " * 100, "red " * 6])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def test_pooling_leaves_padding_out() -> None:
    hidden = torch.tensor([[[1.0], [3.0], [100.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert pool(hidden, mask, "mean").item() == 2.0
    assert pool(hidden, mask, "last").item() == 3.0
    assert pool(hidden, mask, "cls").item() == 1.0


def test_decoder_is_pooled_at_its_last_token(tiny_decoder: Path) -> None:
    decoder = TextEncoder.load(tiny_decoder, device=CPU)
    assert decoder.pooling == "last"
    np.testing.assert_allclose(decoder.encode(TEXTS, batch_size=1), decoder.encode(TEXTS), atol=1e-5)


def test_weights_that_do_not_fit_the_configuration(tiny_encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    with pytest.raises(WeightsError, match=r"do not fit its config.json: encoder.layer.2"):
        TextEncoder.load(folder, device=CPU)


def test_model_that_reads_no_text(tiny_encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    (folder / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(WeightsError, match="'vit' model; give a text encoder"):
        TextEncoder.load(folder, device=CPU)


def test_served_encoder_reads_the_text_column(encoder: TextEncoder) -> None:
    frame = pd.DataFrame({"text": ["red lipstick"]})
    np.testing.assert_allclose(ServedEncoder(encoder).predict(frame), encoder.encode(["red lipstick"]))


@pytest.mark.slow
def test_packaged_encoder_knows_what_belongs_together() -> None:
    packaged = TextEncoder.load(PACKAGED_ENCODER, device=CPU)
    lipstick, gloss, hammer = packaged.encode(["red lipstick", "pink lip gloss", "steel claw hammer"])
    assert packaged.dimension == 384
    assert lipstick @ gloss > lipstick @ hammer + 0.2
