"""Continued learning: a fine-tuned encoder goes on with the pairs of new days instead of starting over.

New days alone would make it forget what older days taught. So a share of each step's pairs is replayed from the old
ones, and what was forgotten is measured on pairs of both that the continuation never trains on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.contrastive import pair_loss
from models.device import Device, torch_threads
from models.encoder_config import FinetuningConfig
from models.encoder_finetuning import finetune
from models.encoder_training import TrainedEncoder
from models.engagement_pairs import EngagementPairs, sampling_shares
from models.interactions import BoolArray, LongArray
from models.language_model import TextEncoder


@dataclass(frozen=True)
class Forgetting:
    """Mean contrastive loss on pairs that the continuation did not train on, before and after it; lower is better.

    None where there are no such pairs.
    """

    old_before: float | None
    old_after: float | None
    new_before: float | None
    new_after: float | None

    def figures(self) -> dict[str, float]:
        """By name, with the loss added on old pairs as `forgetting` and the loss taken off new ones as `learning`."""
        known = {f"{name}_loss": value for name, value in vars(self).items() if value is not None}
        if self.old_before is not None and self.old_after is not None:
            known["forgetting"] = self.old_after - self.old_before
        if self.new_before is not None and self.new_after is not None:
            known["learning"] = self.new_before - self.new_after
        return known


def continue_finetuning(
    pairs: EngagementPairs,
    is_new: BoolArray,
    texts: Sequence[str],
    parent: Path,
    config: FinetuningConfig,
    *,
    seed: int,
    folder: Path,
    device: Device,
    threads: int | None = None,
    **options: Any,
) -> TrainedEncoder:
    """Fine-tune an encoder further on the pairs of new days, beside a replay of old ones.

    Args:
        pairs: All pairs that training may see, old and new.
        is_new: Which of them the parent has not seen, shape (pairs,).
        texts: Text of every item row.
        parent: Folder of the encoder to continue.
        config: `replay_share` says how much is replayed; without new pairs the parent stays as it is.
        seed: Decides every random choice.
        folder: New folder for the result.
        device: Where to train.
        threads: CPU threads; None leaves torch's setting.
        options: Passed on to `models.encoder_finetuning.finetune`.

    Returns:
        The result with the figures of `Forgetting`.
    """
    rng = np.random.default_rng([seed, 7])
    old, old_judged = _kept_back(np.flatnonzero(~is_new), config.held_out, rng)
    new, new_judged = _kept_back(np.flatnonzero(is_new), config.held_out, rng)
    chosen = with_replay(pairs, new, old, config.replay_share, rng)
    options |= {"device": device, "threads": threads}
    trained = finetune(chosen, texts, parent, config, seed=seed, folder=folder, **options)
    losses = []
    with torch_threads(threads):
        for rows in (old_judged, new_judged):
            losses += [judged_loss(pairs, rows, texts, place, config, device) for place in (parent, folder)]
    return replace(trained, figures=Forgetting(*losses).figures())


def with_replay(
    pairs: EngagementPairs, new: LongArray, old: LongArray, replay_share: float, rng: np.random.Generator
) -> EngagementPairs:
    """New pairs and a sample of old ones, so that a drawn pair is old with probability `replay_share`.

    The sample is as large as that share of all, so that held-out pairs of it mix as the drawn ones do. Within old and
    new the weights keep their proportions. Without old pairs all are new; without new ones there are none.
    """
    wanted = round(len(new) * replay_share / (1 - replay_share))
    replayed = np.sort(rng.permutation(old)[:wanted])
    rows = np.concatenate([replayed, new])
    weights = pairs.weights[rows].copy()
    for part, share in ((slice(0, len(replayed)), replay_share), (slice(len(replayed), None), 1 - replay_share)):
        weights[part] *= share / max(float(weights[part].sum()), 1e-12)
    order = np.argsort(rows, kind="stable")
    return pairs.select(rows[order], weights[order])


def judged_loss(
    pairs: EngagementPairs,
    rows: LongArray,
    texts: Sequence[str],
    encoder: Path,
    config: FinetuningConfig,
    device: Device,
) -> float | None:
    """Mean contrastive loss of an encoder on some pairs, in batches without hard negatives; None without pairs.

    Args:
        pairs: All pairs.
        rows: Those to judge on.
        texts: Text of every item row.
        encoder: Folder of the encoder.
        config: Batch size, temperature and correction of the loss.
        device: Where to compute.
    """
    if len(rows) < 2:
        return None
    items = np.unique(np.concatenate([pairs.anchors[rows], pairs.positives[rows]]))
    model = TextEncoder.load(encoder, device=device, max_tokens=config.max_tokens)
    vectors = torch.from_numpy(model.encode([texts[item] for item in items]))
    expected = np.log(np.maximum(config.batch_size * sampling_shares(pairs), 1e-9))
    total = 0.0
    for first in range(0, len(rows), config.batch_size):
        batch = rows[first : first + config.batch_size]
        candidates = np.unique(np.concatenate([pairs.anchors[batch], pairs.positives[batch]]))
        read = vectors[np.searchsorted(items, candidates)]
        shares = config.popularity_correction * expected
        total += pair_loss(pairs, batch, candidates, read, shares, config.temperature).item() * len(batch)
    return total / len(rows)


def _kept_back(rows: LongArray, largest: int, rng: np.random.Generator) -> tuple[LongArray, LongArray]:
    """Rows to train on and to judge on, at most a tenth and at most `largest` of them."""
    order = rng.permutation(rows)
    count = min(largest, len(rows) // 10)
    return np.sort(order[count:]), np.sort(order[:count])
