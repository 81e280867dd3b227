"""The sequence transformer as a vector retriever: fit, encode users and items, follow a catalogue, save and load."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from models.catalogue import Catalogue
from models.device import choose_device
from models.errors import DataError, NotFittedError
from models.exact_products import exact_products
from models.interactions import FloatArray, Histories, InteractionLog, ObjectArray
from models.retriever import as_ids, row_map
from models.sequence_encoder import SequenceConfig, SequenceEncoder
from models.sequence_inference import encode_histories, encode_items
from models.sequence_items import ItemVectors
from models.sequence_run import EpochReport
from models.sequence_training import hold_out_last, train_sequence_encoder
from models.splitting import Holdout

WEIGHTS_FILE = "model.safetensors"
FACTS_FILE = "sequence.json"
CURRENT_ITEMS = "current_item_vectors"


class SequenceRetriever:
    """Scores the next item of a history; a new item takes part through its text as soon as `refresh` has seen it."""

    name = "sequence"

    def __init__(
        self,
        config: SequenceConfig | None = None,
        *,
        checkpoint_folder: Path | None = None,
        on_epoch: Callable[[EpochReport], None] | None = None,
        device: str = "auto",
    ) -> None:
        """Make an unfitted retriever.

        Args:
            config: Hyper-parameters.
            checkpoint_folder: Where `fit` keeps its latest epoch to continue after a kill. It stays afterwards: remove
                it once the model is saved (`CheckpointFolder.clear`).
            on_epoch: Called after each epoch of `fit`.
            device: auto, cpu, cuda or mps.
        """
        self.config = config or SequenceConfig()
        self.best_epoch = 0
        self.reports: list[EpochReport] = []
        self._checkpoint_folder, self._on_epoch, self._device = checkpoint_folder, on_epoch, choose_device(device)
        self._encoder: SequenceEncoder | None = None
        self._trained_ids: ObjectArray = np.empty(0, dtype=object)
        self._item_ids: ObjectArray = np.empty(0, dtype=object)
        self._item_vectors = np.zeros((0, self.config.embedding_size), dtype=np.float32)

    def fit(
        self,
        log: InteractionLog,
        catalogue: Catalogue,
        *,
        seed: int,
        epochs: int | None = None,
        validation: Holdout | None = None,
    ) -> None:
        """Train on `log`.

        With a patience of 0, or with `epochs`, every interaction is trained on and the last weights are kept.
        Otherwise training stops early: on `validation`, or on the last interactions of up to `validation_users`
        users, which are then not trained on.

        Args:
            log: Interactions; item rows are those of `catalogue`.
            catalogue: Items, with text vectors where the configuration uses text.
            seed: Decides everything random.
            epochs: Train exactly so many epochs, such as `best_epoch` of an earlier fit.
            validation: Targets for early stopping that are not in `log`.

        Raises:
            DataError: no user has two interactions.
            ConfigurationError: text is wanted and the catalogue has no text vectors.
        """
        is_stopping = epochs is None and self.config.patience > 0
        if is_stopping and validation is None:
            log, validation = hold_out_last(log, self.config.validation_users, seed=seed)
        trained = train_sequence_encoder(
            log,
            catalogue,
            self.config,
            seed=seed,
            validation=validation if is_stopping else None,
            epochs=epochs,
            checkpoint_folder=self._checkpoint_folder,
            on_epoch=self._on_epoch,
            device=self._device.kind,
        )
        self._encoder, self.best_epoch, self.reports = trained.encoder, trained.best_epoch, trained.reports
        self._trained_ids = catalogue.item_ids[trained.vocabulary]
        self.refresh(catalogue)

    def refresh(self, catalogue: Catalogue) -> None:
        """Follow a changed catalogue: rows move with their ids and a new item is described by its text.

        Raises:
            DataError: the network uses text and the catalogue has no text vectors, or ones of another dimension.
        """
        encoder = self._fitted()
        projection = encoder.items.projection
        if projection is not None:
            size = 0 if catalogue.embeddings is None else catalogue.embeddings.shape[1]
            if size != projection.output.in_features:
                raise DataError(
                    f"the sequence model reads text vectors of {projection.output.in_features} dimensions and the "
                    f"catalogue has {size or 'none'}; materialise item_embeddings with the encoder it was trained with"
                )
        rows = row_map(self._trained_ids, catalogue.item_ids).astype(np.int64)
        self._item_vectors = encode_items(encoder, rows, catalogue, self._device)
        self._item_ids = catalogue.item_ids

    def user_vectors(self, histories: Histories) -> FloatArray:
        """Shape (users, d); zero for a user without a known item. A user's bits do not depend on the batch."""
        return encode_histories(self._fitted(), histories, self._item_vectors, self._device)

    def item_vectors(self) -> FloatArray:
        """Shape (items, d); zero for an item with neither a trained ID nor a text."""
        self._fitted()
        return self._item_vectors

    def score(self, histories: Histories) -> FloatArray:
        """Inner product of user and item vectors, shape (users, items)."""
        return exact_products(self.user_vectors(histories), self.item_vectors())

    def save(self, folder: Path) -> None:
        """Write weights and current item vectors as safetensors, configuration and item ids as JSON."""
        encoder = self._fitted()
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in encoder.state_dict().items()}
        tensors[CURRENT_ITEMS] = torch.from_numpy(self._item_vectors)
        save_file(tensors, folder / WEIGHTS_FILE)
        facts = {
            "config": asdict(self.config),
            "best_epoch": self.best_epoch,
            "reports": [asdict(report) for report in self.reports],
            "trained_ids": self._trained_ids.tolist(),
            "item_ids": self._item_ids.tolist(),
            "text_size": encoder.items.text_size,
        }
        (folder / FACTS_FILE).write_text(json.dumps(facts, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            NotFittedError: the folder holds no sequence model.
        """
        if not (folder / FACTS_FILE).is_file():
            raise NotFittedError(
                f"{folder} holds no sequence model ({FACTS_FILE} is missing); train and save one first"
            )
        facts = json.loads((folder / FACTS_FILE).read_text())
        model = cls(SequenceConfig(**facts["config"]))
        tensors = load_file(folder / WEIGHTS_FILE)
        model._item_vectors = tensors.pop(CURRENT_ITEMS).numpy()
        model._trained_ids, model._item_ids = as_ids(facts["trained_ids"]), as_ids(facts["item_ids"])
        model.best_epoch = facts["best_epoch"]
        model.reports = [EpochReport(**report) for report in facts["reports"]]
        items = ItemVectors(model.config, len(model._trained_ids), facts["text_size"])
        encoder = SequenceEncoder(model.config, items)
        encoder.load_state_dict(tensors)
        model._encoder = encoder.to(model._device.target).eval()
        return model

    def _fitted(self) -> SequenceEncoder:
        if self._encoder is None:
            raise NotFittedError("the sequence retriever was used before it was fitted or loaded")
        return self._encoder
