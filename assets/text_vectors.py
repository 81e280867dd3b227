"""Vectors of texts that were encoded between two builds, kept beside the models.

Until the warehouse has built a new item, everyone who loads a server needs its vector: each run of the sensor path, a
worker that takes over, one that loads a new champion. Encoding takes longer than all the rest of a load, so whoever
encodes first keeps what it made. Losing it costs time only.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from assets.artifacts import ArtifactStore
from models.errors import NotFittedError

if TYPE_CHECKING:
    from models.interactions import FloatArray

KIND = "text_vectors"
MOST_KEPT = 32
"""Batches that are kept; each load that encodes anything keeps all that it needed as one."""


class TextVectors:
    """What one encoder made of texts."""

    def __init__(self, store: ArtifactStore, encoder_version: str) -> None:
        self._store, self._version = store, encoder_version

    def found(self, hashes: Sequence[str]) -> "dict[str, FloatArray]":
        """Those vectors that are kept, by hash of the text (`models.item_text.text_hashes`)."""
        from models.retriever import load_state

        wanted = set(hashes)
        found: dict[str, FloatArray] = {}
        for folder in sorted((self._store.root / KIND).glob(f"{self._version}-*")):
            if wanted <= found.keys():
                break
            try:
                arrays, facts = load_state(folder)
            except (NotFittedError, OSError):
                continue  # one of the oldest, which somebody is removing
            found.update(
                (key, own) for key, own in zip(facts["texts"], arrays["vectors"], strict=True) if key in wanted
            )
        return found

    def keep(self, hashes: Sequence[str], vectors: "FloatArray") -> None:
        """Keep vectors, shape (texts, dimension), for whoever loads next."""
        from models.retriever import save_state

        name = hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:16]
        with self._store.scratch() as folder:
            save_state(folder, {"vectors": np.asarray(vectors, dtype=np.float32)}, {"texts": list(hashes)})
            self._store.put_as(folder, KIND, f"{self._version}-{name}")
        self._store.keep_newest(KIND, MOST_KEPT)
