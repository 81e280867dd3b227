"""Two towers over text vectors with a score head: the classic retrieval model of a language-model recommender.

The user tower reads the mean text of the history, the item tower the item's text, and a bilinear head scores the pair;
trained with binary cross-entropy on engaged against sampled items (Covington et al., RecSys 2016; Yi et al., RecSys
2019). It works on cached item vectors, so that training never runs the language model.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from models.catalogue import Catalogue
from models.content import ContentConfig, ContentRetriever
from models.device import choose_device
from models.errors import NotFittedError
from models.exact_products import exact_products
from models.interactions import FloatArray, Histories, InteractionLog
from models.retriever import in_blocks
from models.training_loop import CurvePoint, TrainingReport
from models.two_tower_config import TwoTowerConfig
from models.two_tower_training import TwoTower, train_two_tower

WEIGHTS_FILE = "model.safetensors"
FACTS_FILE = "two_tower.json"


class TwoTowerRetriever:
    """Dot product of a user tower and an item tower; a new item takes part through its text at once."""

    name = "two_tower"

    def __init__(
        self,
        config: TwoTowerConfig | None = None,
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
        self.config = config or TwoTowerConfig()
        self.report: TrainingReport | None = None
        self.auc = math.nan
        """Chance that a held-out engaged item scores above a sampled one; NaN where nothing was held out."""
        self._checkpoint_folder, self._on_point, self._device = checkpoint_folder, on_point, choose_device(device)
        self._text = ContentRetriever(ContentConfig(self.config.recency_decay, self.config.history_length))
        self._network: TwoTower | None = None
        self._vectors: FloatArray = np.zeros((0, self.config.embedding_size), dtype=np.float32)

    def fit(self, log: InteractionLog, catalogue: Catalogue, *, seed: int) -> None:
        """Train both towers on the catalogue's text vectors.

        Raises:
            DataError: the catalogue has no embeddings, or no user has two items with a text.
        """
        self._text.fit(log, catalogue, seed=seed)
        trained = train_two_tower(
            log,
            self._text.item_vectors(),
            self.config,
            seed=seed,
            device=self._device,
            checkpoint_folder=self._checkpoint_folder,
            on_point=self._on_point,
        )
        self._network, self.report, self.auc = trained.network.eval(), trained.report, trained.auc
        self._encode_items()

    def user_vectors(self, histories: Histories) -> FloatArray:
        """Shape (users, d), the score head applied; zero for a user without a text in the history."""
        network = self._fitted()
        return self._through(network.users, self._text.user_vectors(histories))

    def item_vectors(self) -> FloatArray:
        """Shape (items, d); zero for an item without text."""
        self._fitted()
        return self._vectors

    def score(self, histories: Histories) -> FloatArray:
        """Logit without its bias, which is the same for all, shape (users, items)."""
        return exact_products(self.user_vectors(histories), self.item_vectors())

    def refresh(self, catalogue: Catalogue) -> None:
        """Follow a changed catalogue: every item is described by its text.

        Raises:
            DataError: the catalogue has no embeddings, or they come from an encoder of another dimension.
        """
        self._fitted()
        self._text.refresh(catalogue)
        self._encode_items()

    def save(self, folder: Path) -> None:
        """Write the network and the texts as safetensors, the rest as JSON."""
        network = self._fitted()
        self._text.save(folder)
        tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
        save_file(tensors, folder / WEIGHTS_FILE)
        auc = None if math.isnan(self.auc) else self.auc
        (folder / FACTS_FILE).write_text(json.dumps({"config": asdict(self.config), "auc": auc}, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            NotFittedError: the folder holds no two-tower model.
        """
        if not (folder / FACTS_FILE).is_file():
            raise NotFittedError(
                f"{folder} holds no two-tower model ({FACTS_FILE} is missing); train and save one first"
            )
        facts = json.loads((folder / FACTS_FILE).read_text())
        model = cls(TwoTowerConfig(**facts["config"]))
        model.auc = math.nan if facts["auc"] is None else facts["auc"]
        model._text = ContentRetriever.load(folder)
        network = TwoTower(model._text.item_vectors().shape[1], model.config)
        network.load_state_dict(load_file(folder / WEIGHTS_FILE))
        model._network = network.to(model._device.target).eval()
        model._encode_items()
        return model

    def _encode_items(self) -> None:
        self._vectors = self._through(self._fitted().items, self._text.item_vectors())

    def _through(self, tower: Callable[[torch.Tensor], torch.Tensor], text: FloatArray) -> FloatArray:
        """Vectors of a tower in blocks, so that a row's bits depend on that row alone; zero where the text is."""
        target = self._device.target

        def compute(block: FloatArray) -> FloatArray:
            with torch.inference_mode():
                return np.asarray(tower(torch.from_numpy(block).to(target)).float().cpu().numpy())

        vectors = in_blocks(compute, text)
        return np.where((text != 0).any(axis=1)[:, None], vectors, np.float32(0))

    def _fitted(self) -> TwoTower:
        if self._network is None:
            raise NotFittedError("the two-tower retriever was used before it was fitted or loaded")
        return self._network
