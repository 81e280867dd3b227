"""Hidden tokens."""

import pytest
import torch

from models.language_model_heads import IGNORED, mask_tokens


def test_masks_only_real_tokens_and_at_least_one() -> None:
    ids = torch.tensor([[2, 5, 6, 7, 3, 0], [2, 8, 3, 0, 0, 0]])
    generator = torch.Generator().manual_seed(0)
    read, labels = mask_tokens(ids, (ids != 0).long(), torch.tensor([0, 2, 3]), 4, 20, 0.01, generator)
    chosen = labels != IGNORED
    assert chosen.sum(dim=1).tolist() == [1, 1]
    assert torch.equal(labels[chosen], ids[chosen])
    assert torch.equal(read[~chosen], ids[~chosen])


def test_shares_of_masked_random_and_kept_tokens() -> None:
    ids = torch.full((100, 100), 7)
    generator = torch.Generator().manual_seed(0)
    read, labels = mask_tokens(ids, torch.ones_like(ids), torch.tensor([0]), 4, 1000, 0.15, generator)
    chosen = labels != IGNORED
    assert chosen.float().mean().item() == pytest.approx(0.15, abs=0.01)
    assert (read[chosen] == 4).float().mean().item() == pytest.approx(0.8, abs=0.03)
    assert (read[chosen] == 7).float().mean().item() == pytest.approx(0.1, abs=0.03)
