"""Which device computes, and what is told of its faults."""

from __future__ import annotations

import pytest
import torch

from bot.errors import ConfigurationError
from bot.inference.devices import choose_device, choose_dtype, is_lost, is_out_of_memory


def test_the_cpu_is_always_there_and_computes_in_a_format_that_it_is_fast_in() -> None:
    device = choose_device("cpu")
    assert device == torch.device("cpu")
    assert choose_dtype(device) in (torch.float32, torch.bfloat16)


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_gpus_compute_in_bfloat16_and_never_in_float16(kind: str) -> None:
    assert choose_dtype(torch.device(kind)) is torch.bfloat16


@pytest.mark.parametrize("name", ["cuda", "cuda:9", "mps"])
def test_a_device_that_is_not_there_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0 if name == "cuda" else 9)
    with pytest.raises(ConfigurationError, match=f"DEVICE is {name}, but PyTorch finds no such"):
        choose_device(name)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 17.9 GB)"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_every_device_says_in_its_own_way_that_memory_ran_out(error: Exception) -> None:
    assert is_out_of_memory(error)


def test_other_errors_are_not_a_lack_of_memory() -> None:
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_after_an_illegal_access_the_device_is_lost() -> None:
    assert is_lost(torch.AcceleratorError("CUDA error: an illegal memory access"))
    assert not is_lost(torch.OutOfMemoryError("CUDA out of memory"))
