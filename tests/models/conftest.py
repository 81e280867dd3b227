"""A tiny random decoder, and a catalogue whose answers are known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.interactions import InteractionLog


@pytest.fixture(scope="session")
def tiny_decoder(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    """Folder of a Llama with one layer of 16 dimensions, random weights and the same tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny-decoder")
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    tokenizer.save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
            bos_token_id=2,
            eos_token_id=3,
            pad_token_id=0,
        )
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def checkerboard() -> tuple[Catalogue, InteractionLog]:
    """20 items and 20 users; user u took every item of the parity of u but item u itself, which is what comes next.

    Item texts tell even from odd. Users 0 to 9 are in segment north, the others in none.
    """
    ids = [f"i{number:02d}" for number in range(20)]
    text = np.zeros((20, 4), dtype=np.float32)
    text[np.arange(20), np.arange(20) % 2] = 1
    frame = pd.DataFrame(
        {
            "item_id": ids,
            "title": [f"Item {number}" for number in range(20)],
            "category": [f"c{number % 2}" for number in range(20)],
            "brand_or_author": [f"b{number % 5}" for number in range(20)],
        }
    )
    taken = [(user, item) for user in range(20) for item in range(20) if (user + item) % 2 == 0 and user != item]
    events = pd.DataFrame(
        {
            "user_id": [f"u{user:02d}" for user, _ in taken],
            "item_id": [ids[item] for _, item in taken],
            "event_at": pd.Timestamp("2026-01-01") + pd.to_timedelta([item for _, item in taken], unit="D"),
            "weight": 1.0,
        }
    )
    segments = {f"u{user:02d}": "north" for user in range(10)}
    return Catalogue.from_frame(frame, text), InteractionLog.from_frame(events, ids, segments)
