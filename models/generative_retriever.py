"""Generative recall: a decoder reads the IDs of a history and writes those of the items that come next.

After TIGER (Rajput et al., NeurIPS 2023): items are named by semantic IDs (`models.semantic_ids`), a transformer is
trained to continue sequences of them, and beam search under a prefix trie yields only items that exist. Instead of an
encoder-decoder a decoder alone is trained, on every item of every history at once.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors.torch import load_file, save_file

from models.catalogue import Catalogue
from models.device import choose_device
from models.errors import DataError, NotFittedError
from models.generative_config import GenerativeConfig
from models.generative_decoder import new_decoder, search
from models.generative_tokens import TokenSpace, packed_histories
from models.generative_training import train_decoder
from models.interactions import FloatArray, Histories, InteractionLog, LongArray, ObjectArray
from models.prefix_trie import PrefixTrie
from models.retriever import as_ids
from models.semantic_ids import NO_ID, SemanticIds
from models.training_loop import CurvePoint, TrainingReport

WEIGHTS_FILE = "model.safetensors"
FACTS_FILE = "generative.json"


class GenerativeRetriever:
    """Scores the items that the decoder writes, 0 for all others. A new item takes part through its text's ID."""

    name = "generative"

    def __init__(
        self,
        config: GenerativeConfig | None = None,
        *,
        checkpoint_folder: Path | None = None,
        on_point: Callable[[CurvePoint], None] | None = None,
        device: str = "auto",
    ) -> None:
        """Make an unfitted retriever.

        Args:
            config: Hyper-parameters.
            checkpoint_folder: Where `fit` keeps checkpoints to continue after a kill.
            on_point: Called with every point of the loss curve of `fit`.
            device: auto, cpu, cuda or mps.
        """
        self.config = config or GenerativeConfig()
        self.report: TrainingReport | None = None
        self._checkpoint_folder, self._on_point, self._device = checkpoint_folder, on_point, choose_device(device)
        self._decoder: Any = None
        self._ids: SemanticIds | None = None
        self._item_ids: ObjectArray = np.empty(0, dtype=object)
        self._item_tokens: LongArray = np.zeros((0, 0), dtype=np.int64)
        self._has_id = np.zeros(0, dtype=bool)
        self._trie: PrefixTrie | None = None

    def fit(self, log: InteractionLog, catalogue: Catalogue, *, seed: int) -> None:
        """Quantise the catalogue's text vectors and train the decoder on the log.

        Raises:
            DataError: the catalogue has no embeddings, or no user has two different items.
        """
        vectors = _embeddings(catalogue)
        self._ids = SemanticIds.train(catalogue.item_ids, vectors, self.config.semantic_ids, seed=seed)
        self._decoder, self.report = train_decoder(
            log,
            self._ids.of(catalogue.item_ids),
            self._ids,
            self.config,
            seed=seed,
            device=self._device,
            checkpoint_folder=self._checkpoint_folder,
            on_point=self._on_point,
        )
        self._bind(catalogue.item_ids)

    def score(self, histories: Histories) -> FloatArray:
        """`1 / (1 - log p)` of the `beams` items of highest probability p, 0 for all others and for unknown users.

        Between 0 and 1 and in the order of p; p itself spans too many powers of ten to be added to other scores.
        """
        found, logs = self.generate(histories)
        scores = np.zeros((histories.count, len(self._item_ids)), dtype=np.float32)
        users, places = np.nonzero(found >= 0)
        scores[users, found[users, places]] = 1 / (1 - logs[users, places])
        return scores

    def generate(self, histories: Histories) -> tuple[LongArray, FloatArray]:
        """Item rows that the decoder writes, best first, -1 behind the end, and the logs of their probabilities.

        Returns:
            Two arrays of shape (users, beams); nothing for a user without a known item.
        """
        if self._trie is None or self._ids is None:
            raise NotFittedError("the generative retriever was used before it was fitted or loaded")
        beams = self.config.beams
        found = np.full((histories.count, beams), -1, dtype=np.int64)
        logs = np.full((histories.count, beams), -np.inf, dtype=np.float32)
        packed = packed_histories(histories.items, self._has_id, self.config.history_items)
        users = np.array([user for user, history in enumerate(packed) if len(history)], dtype=np.int64)
        if len(users):
            known = [packed[user] for user in users]
            space = TokenSpace.of(self._ids)
            found[users], logs[users] = search(
                self._decoder, known, self._item_tokens, space, self._trie, beams, self._device
            )
        return found, logs

    def refresh(self, catalogue: Catalogue) -> None:
        """Follow a changed catalogue: a new item gets the ID that its text vector says.

        Raises:
            DataError: the catalogue has no embeddings, or they come from an encoder of another dimension.
        """
        if self._ids is None:
            raise NotFittedError("the generative retriever was refreshed before it was fitted or loaded")
        self._ids = self._ids.extended(catalogue.item_ids, _embeddings(catalogue))
        self._bind(catalogue.item_ids)

    def save(self, folder: Path) -> None:
        """Write weights and IDs as safetensors, the rest as JSON."""
        if self._ids is None:
            raise NotFittedError("the generative retriever was saved before it was fitted or loaded")
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: value.detach().cpu().contiguous().clone() for name, value in self._decoder.named_parameters()}
        save_file(tensors, folder / WEIGHTS_FILE)
        self._ids.save(folder)
        facts = {"config": asdict(self.config), "item_ids": self._item_ids.tolist()}
        (folder / FACTS_FILE).write_text(json.dumps(facts, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            NotFittedError: the folder holds no generative retriever.
        """
        if not (folder / FACTS_FILE).is_file():
            raise NotFittedError(
                f"{folder} holds no generative retriever ({FACTS_FILE} is missing); train and save one first"
            )
        facts = json.loads((folder / FACTS_FILE).read_text())
        model = cls(GenerativeConfig(**facts["config"]))
        model._ids = SemanticIds.load(folder)
        model._decoder = new_decoder(model.config, TokenSpace.of(model._ids))
        model._decoder.load_state_dict(load_file(folder / WEIGHTS_FILE), strict=False)  # tied weights are kept once
        model._decoder.to(model._device.target).eval()
        model._bind(as_ids(facts["item_ids"]))
        return model

    def _bind(self, item_ids: ObjectArray) -> None:
        """Take the IDs of these items; only they can come out."""
        assert self._ids is not None
        tokens = self._ids.of(item_ids)
        self._item_ids, self._item_tokens = item_ids, TokenSpace.of(self._ids).encode(tokens)
        self._has_id, self._trie = (tokens != NO_ID).all(axis=1), PrefixTrie.build(tokens)


def _embeddings(catalogue: Catalogue) -> FloatArray:
    if catalogue.embeddings is None:
        raise DataError(
            "the catalogue has no embeddings, which the generative retriever makes its IDs of; "
            "materialise item_embeddings or take 'generative' out of the retrievers"
        )
    return catalogue.embeddings
