"""Device choice."""

import pytest
import torch

from models.device import choose_device, seeded, torch_threads
from models.errors import ConfigurationError


def test_cpu_computes_in_float32() -> None:
    device = choose_device("cpu")
    assert device.target == torch.device("cpu")
    assert device.compute_dtype is torch.float32
    assert device.description.startswith("cpu, ")


def test_unknown_device_is_refused_with_the_choices() -> None:
    with pytest.raises(ConfigurationError, match="auto, cpu, cuda, mps"):
        choose_device("tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_absent_device_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no usable cuda"):
        choose_device("cuda")


def test_threads_are_restored() -> None:
    before = torch.get_num_threads()
    with torch_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_seeded_block_repeats_and_leaves_the_outer_generator_alone() -> None:
    before = torch.get_rng_state()
    draws = []
    for _ in range(2):
        with seeded(7):
            draws.append(torch.rand(2))
    assert torch.equal(draws[0], draws[1])
    assert torch.equal(torch.get_rng_state(), before)
