"""Texts in, unit vectors out: any text encoder or decoder of `transformers`, used as an embedder.

Encoders pool the mean of their token vectors over real tokens, decoders take the last real token. Weights come from
safetensors only.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_MAPPING,
    AutoConfig,
    AutoTokenizer,
)
from transformers.utils import logging as transformers_logging

from models.device import Device, choose_device, seeded
from models.encoder_weights import content_version, find_weights
from models.errors import WeightsError
from models.interactions import FloatArray

Pooling = Literal["mean", "cls", "last"]
FACTS_FILE = "freshet.json"
"""Where a trained encoder's folder says how it was made and how it pools."""


@dataclass
class TextEncoder:
    """A loaded text model with its tokenizer. Computes; training is in the `encoder_*` modules."""

    model: Any
    """Transformer without a prediction head (`transformers` has no types)."""
    tokenizer: Any
    pooling: Pooling
    device: Device
    max_tokens: int
    version: str
    """Content hash of the weights' folder."""

    @classmethod
    def load(cls, setting: str | Path, *, device: Device | None = None, max_tokens: int = 64, sha256: str = "") -> Self:
        """Load from a folder, a hub id or the packaged encoder's name.

        Args:
            setting: See `models.encoder_weights.find_weights`.
            device: Where to compute; None chooses.
            max_tokens: Longer texts are cut.
            sha256: Expected hash of the weights; empty: see `find_weights`.

        Raises:
            WeightsError: the weights are missing, damaged or of a kind that cannot embed text.
        """
        weights = find_weights(str(setting), sha256)
        place = device or choose_device()
        model = load_transformer(weights.folder).to(place.target).eval()
        if place.compute_dtype is not torch.float32:
            model = model.to(place.compute_dtype)
        limit = getattr(model.config, "max_position_embeddings", max_tokens)
        return cls(
            model=model,
            tokenizer=load_tokenizer(weights.folder),
            pooling=choose_pooling(weights.folder, model.config),
            device=place,
            max_tokens=min(max_tokens, limit),
            version=weights.version,
        )

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self.model.config.hidden_size)

    def encode(
        self,
        texts: Sequence[str],
        *,
        batch_size: int = 64,
        on_progress: Callable[[int], None] | None = None,
    ) -> FloatArray:
        """Embed texts.

        Args:
            texts: Any number of texts, in any order; they are batched by length, so that little padding is computed.
            batch_size: Texts in one forward pass.
            on_progress: Called after each batch with the number of texts done.

        Returns:
            Unit-length vectors, shape (texts, dimension); a zero row for a text that is empty or blank.
        """
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        filled = np.array([row for row, text in enumerate(texts) if text.strip()], dtype=np.int64)
        tokens = token_ids(self.tokenizer, [texts[row] for row in filled], self.max_tokens)
        order = np.argsort([-len(ids) for ids in tokens], kind="stable")
        for first in range(0, len(order), batch_size):
            chosen = order[first : first + batch_size]
            with torch.inference_mode():
                pooled = self.embed([tokens[row] for row in chosen])
            vectors[filled[chosen]] = pooled.float().cpu().numpy()
            if on_progress is not None:
                on_progress(first + len(chosen))
        return vectors

    def embed(self, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Unit vectors of tokenised texts as a tensor that gradients flow through, shape (texts, dimension)."""
        ids, mask = pad(tokens, self.tokenizer.pad_token_id, self.device.target)
        hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return torch.nn.functional.normalize(pool(hidden.float(), mask, self.pooling), dim=-1)


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """One vector per text from its token vectors.

    Args:
        hidden: Token vectors, shape (texts, tokens, dimension), padded on the right.
        mask: 1 for real tokens, shape (texts, tokens).
        pooling: Mean over real tokens, first token, or last real token.
    """
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(dim=1) - 1]
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def token_ids(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Token numbers of each text with its special tokens, cut to `max_tokens`."""
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(list(texts), truncation=True, max_length=max_tokens)["input_ids"]
    return ids


def pad(tokens: Sequence[Sequence[int]], padding: int, target: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token numbers and mask, both of shape (texts, longest), padded on the right."""
    width = max(len(ids) for ids in tokens)
    padded = np.full((len(tokens), width), padding, dtype=np.int64)
    mask = np.zeros((len(tokens), width), dtype=np.int64)
    for row, ids in enumerate(tokens):
        padded[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    return torch.from_numpy(padded).to(target), torch.from_numpy(mask).to(target)


def load_transformer(folder: Path) -> Any:
    """The text model of a folder in float32, without pooling layer or prediction head.

    Raises:
        WeightsError: the configuration is not that of a text model, or the weights do not fit it.
    """
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{folder / 'config.json'} is unusable ({error}); copy the model's whole folder") from error
    if type(config) not in MODEL_MAPPING or not (is_masked(config) or type(config) in MODEL_FOR_CAUSAL_LM_MAPPING):
        raise WeightsError(f"{folder} holds a {config.model_type!r} model; give a text encoder or a text decoder")
    kind: Any = MODEL_MAPPING[type(config)]
    options = {"add_pooling_layer": False} if "add_pooling_layer" in signature(kind).parameters else {}
    with quiet_transformers(), seeded(0):
        model, report = kind.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            **options,
        )
    if report["missing_keys"] or report["mismatched_keys"]:
        name = sorted(report["missing_keys"] or report["mismatched_keys"])[0]
        raise WeightsError(f"the weights in {folder} do not fit its config.json: {name} is missing or misshapen")
    return model


def load_tokenizer(folder: Path) -> Any:
    """The fast tokenizer of a folder, padding on the right.

    Raises:
        WeightsError: it cannot be read, or has no token to pad with.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, use_fast=True)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(f"the tokenizer in {folder} is unusable ({error}); copy the model's whole folder") from error
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise WeightsError(f"the tokenizer in {folder} has neither a padding nor an end token; add one")
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def choose_pooling(folder: Path, config: Any) -> Pooling:
    """How texts are pooled: as the folder says, else the mean for encoders and the last token for decoders."""
    facts, sentence = folder / FACTS_FILE, folder / "1_Pooling" / "config.json"
    if facts.is_file():
        stored: Pooling = json.loads(facts.read_text())["pooling"]
        return stored
    if sentence.is_file() and json.loads(sentence.read_text()).get("pooling_mode_cls_token"):
        return "cls"
    return "mean" if is_masked(config) else "last"


def is_masked(config: Any) -> bool:
    """Whether the architecture predicts masked tokens (an encoder) rather than the next one (a decoder)."""
    return type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)


def save_encoder(folder: Path, model: Any, tokenizer: Any, facts: dict[str, Any]) -> str:
    """Write weights, configuration, tokenizer and `freshet.json`; the same content gives the same bytes.

    Args:
        folder: New or empty folder.
        model: Transformer without head, LoRA already merged.
        tokenizer: Its tokenizer.
        facts: How it was made; must name its `pooling`. No times, so that equal trainings give equal folders.

    Returns:
        Content version of the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    (folder / FACTS_FILE).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")
    return content_version(folder)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep `transformers` from drawing bars and from reporting the head that we leave out on purpose."""
    reporter: Any = transformers_logging  # its functions have no types
    level, has_bars = reporter.get_verbosity(), reporter.is_progress_bar_enabled()
    reporter.set_verbosity_error()
    reporter.disable_progress_bar()
    try:
        yield
    finally:
        reporter.set_verbosity(level)
        if has_bars:
            reporter.enable_progress_bar()


@dataclass(frozen=True)
class ServedEncoder:
    """An encoder as the model registry serves it: a frame with the column `text` in, vectors out."""

    encoder: TextEncoder

    def predict(self, frame: Any) -> FloatArray:
        """Unit vectors of `frame["text"]`, shape (rows, dimension)."""
        return self.encoder.encode(frame["text"].tolist())


def _load_pyfunc(folder: str) -> ServedEncoder:
    """Entry point that MLflow calls with the folder of a registered encoder."""
    return ServedEncoder(TextEncoder.load(folder))
