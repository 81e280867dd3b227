"""Which encoder a fine-tuning goes on from: a former one with equal settings, or none.

What a training stood on is kept with its weights, so that building again from the same data takes the same parent and
ends in the same version, and a process that was killed begins again where it was.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assets.artifacts import ArtifactStore
from assets.encoder_stages import ENCODER_KIND
from models.encoder_config import FinetuningConfig
from models.interactions import InteractionLog

FACTS = "freshet.json"
"""File of an encoder's folder that holds its `origin`."""


@dataclass(frozen=True)
class Origin:
    """Where a fine-tuning stands among others; kept with its weights when trainings may go on from it."""

    encoder: str
    """Setting of the encoder that the first of them began with."""
    trained_until: int
    """Seconds since 1970 behind the last interaction that it read."""
    parent: str = ""
    """Version that it went on from; empty: it started over, from the pretrained encoder."""
    rounds: int = 0
    """Continuations in a row, this one included."""


@dataclass(frozen=True)
class Parent:
    """An encoder to go on from."""

    version: str
    folder: Path
    origin: Origin


def find_parent(
    store: ArtifactStore, last_version: str, config: FinetuningConfig, seed: int, encoder: str, until: int
) -> Parent | None:
    """The encoder that a fine-tuning on interactions before `until` goes on from; None to start over.

    Args:
        store: Holds former encoders.
        last_version: Version of the last fine-tuned encoder; empty: there is none.
        config: Settings of this training; another one than the former's starts over.
        seed: Seed of this training.
        encoder: Setting of the encoder.
        until: Seconds since 1970 behind the last interaction that training may see.
    """
    if not config.continue_rounds or not last_version:
        return None
    last = _read(store, last_version, config, seed, encoder)
    if last is not None and last.origin.trained_until >= until:  # built again from the same data
        last = _read(store, last.origin.parent, config, seed, encoder) if last.origin.parent else None
    if last is None or last.origin.rounds >= config.continue_rounds or last.origin.trained_until >= until:
        return None
    return last


def end_of(log: InteractionLog) -> int:
    """Seconds since 1970 behind the last interaction of a log; 1 where it is empty."""
    return int(log.event_ats.max(initial=0)) + 1


def origin_of(parent: Parent | None, encoder: str, until: int) -> Origin:
    """Where the training that goes on from `parent`, or starts over, stands."""
    if parent is None:
        return Origin(encoder, until)
    return Origin(encoder, until, parent.version, parent.origin.rounds + 1)


def _read(store: ArtifactStore, version: str, config: FinetuningConfig, seed: int, encoder: str) -> Parent | None:
    """A stored encoder, unless it is gone, was made with other settings, or tells no origin."""
    folder = store.root / ENCODER_KIND / version
    if not (folder / FACTS).is_file():
        return None
    facts: dict[str, Any] = json.loads((folder / FACTS).read_text())
    if "origin" not in facts or facts["config"] != asdict(config) or facts["seed"] != seed:
        return None
    origin = Origin(**facts["origin"])
    return Parent(version, folder, origin) if origin.encoder == encoder else None
