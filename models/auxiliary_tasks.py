"""What fine-tuning predicts beside the next item: its category, and the type of the event that chose it.

Both are read off the vector of the earlier item by linear heads, which are thrown away afterwards.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from models.device import seeded
from models.encoder_config import FinetuningConfig
from models.engagement_pairs import EngagementPairs
from models.interactions import LongArray

UNKNOWN = -1
"""Label of a pair that a task says nothing about."""


@dataclass(frozen=True)
class AuxiliaryTask:
    """One classification: labels of all pairs, and the head that predicts them."""

    name: str
    weight: float
    labels: LongArray
    """Class of each pair, `UNKNOWN` where there is none."""
    head: nn.Linear

    def loss(self, vectors: torch.Tensor, chosen: LongArray) -> torch.Tensor:
        """Weighted mean cross-entropy of pairs; 0 where none of them has a label.

        Args:
            vectors: Unit vectors of the pairs' earlier items, shape (pairs, dimension).
            chosen: The pairs.
        """
        labels = torch.from_numpy(self.labels[chosen]).to(vectors.device)
        is_known = labels != UNKNOWN
        if not bool(is_known.any()):
            return vectors.sum() * 0.0
        # Entries of unit vectors are small; at unit variance the head learns at an ordinary rate.
        logits = self.head(vectors[is_known] * vectors.shape[1] ** 0.5)
        return self.weight * nn.functional.cross_entropy(logits.float(), labels[is_known])


def auxiliary_tasks(
    pairs: EngagementPairs, config: FinetuningConfig, dimension: int, seed: int
) -> tuple[list[AuxiliaryTask], dict[str, str]]:
    """The tasks that the configuration asks for, and why those that cannot be learned are left out.

    Args:
        pairs: With the categories of the items and, where known, the event types.
        config: Says which tasks weigh how much.
        dimension: Length of the encoder's vectors.
        seed: Decides the first weights of the heads.

    Returns:
        Tasks, and reason by task.
    """
    wanted = {
        "category": (config.category_weight, pairs.categories[pairs.positives]),
        "event_type": (config.event_type_weight, pairs.event_types),
    }
    tasks, skipped = [], {}
    for name, (weight, codes) in wanted.items():
        if not weight:
            continue
        classes = np.unique(codes[codes != UNKNOWN])
        if len(classes) < 2:
            skipped[name] = f"the pairs have {len(classes)} {name.replace('_', ' ')}, and two are needed"
            continue
        labels = np.where(codes == UNKNOWN, UNKNOWN, np.searchsorted(classes, codes)).astype(np.int64)
        with seeded(seed):
            tasks.append(AuxiliaryTask(name, weight, labels, nn.Linear(dimension, len(classes))))
    return tasks, skipped
