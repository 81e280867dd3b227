"""Device choice."""

import pytest
import torch

from models.device import CUDA_BATCH_MULTIPLE, choose_device, device_of, seeded, torch_threads
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


@pytest.mark.parametrize("kind", ["cpu", "mps"])
def test_only_cuda_gets_mixed_precision_compiled_graphs_and_larger_steps(kind: str) -> None:
    device = device_of(kind, kind, has_bfloat16=True, has_compiler=True)
    assert (device.compute_dtype, device.is_compiled, device.batch_multiple) == (torch.float32, False, 1)
    module = torch.nn.Linear(2, 2)
    assert device.compiled(module) is module


@pytest.mark.parametrize("has_bfloat16", [True, False])
@pytest.mark.parametrize("has_compiler", [True, False])
def test_cuda_takes_what_it_has(has_bfloat16: bool, has_compiler: bool) -> None:
    device = device_of("cuda", "cuda, some GPU", has_bfloat16=has_bfloat16, has_compiler=has_compiler)
    assert device.compute_dtype is (torch.bfloat16 if has_bfloat16 else torch.float32)
    assert device.is_compiled is has_compiler
    assert device.batch_multiple == CUDA_BATCH_MULTIPLE


def test_shortened_products_end_with_their_block_and_are_for_cuda_alone() -> None:
    before = torch.get_float32_matmul_precision()
    with device_of("cpu", "cpu", has_bfloat16=False, has_compiler=False).fast_products():
        assert torch.get_float32_matmul_precision() == before
    with device_of("cuda", "cuda", has_bfloat16=True, has_compiler=True).fast_products():
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before
