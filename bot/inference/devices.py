"""Which device computes, and in which number format."""

from __future__ import annotations

import time

import torch

from bot.errors import ConfigurationError


def choose_device(name: str) -> torch.device:
    """Return the device of a DEVICE setting; raise ConfigurationError where it is not there.

    `auto` takes CUDA before MPS before the CPU.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    counts = {
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }
    if (device.index or 0) >= counts.get(device.type, 1):
        raise ConfigurationError(
            "DEVICE", f"is {name}, but PyTorch finds no such device", "auto, cuda, mps, cpu"
        )
    if device.type == "cuda":
        # the memory statistics of a device with an index do not do it
        torch.cuda.init()  # type: ignore[no-untyped-call]
    return device


def choose_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 on GPUs, and on the CPU whichever of float32 and bfloat16 is faster.

    float16 is never chosen: it gives black pictures on MPS.
    """
    return torch.bfloat16 if device.type != "cpu" else _fastest_cpu_dtype()


def _fastest_cpu_dtype() -> torch.dtype:
    # Chosen once for all pictures: it must not flip with the noise of a busy machine, since a seed
    # gives a slightly different picture in the other format. So bfloat16 has to be twice as fast;
    # on a Xeon without AMX it took 1.9 times as long as float32.
    if _matmul_seconds(torch.float32) > 2 * _matmul_seconds(torch.bfloat16):
        return torch.bfloat16
    return torch.float32


def _matmul_seconds(dtype: torch.dtype) -> float:
    """Return the best time of a 1024-square product, about 2 GFLOP."""
    matrix = torch.randn(1024, 1024, dtype=dtype)
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        matrix @ matrix
        best = min(best, time.perf_counter() - start)
    return best


def synchronize(device: torch.device) -> None:
    """Wait for what has been given to the device, so that a clock tells the time of the work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out: MPS and the CPU have no type for that."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def is_lost(error: BaseException) -> bool:
    """Tell whether the device can compute no more in this process, as after an illegal access."""
    return isinstance(error, torch.AcceleratorError)


def quiet_libraries() -> None:
    """Keep the progress bars and advice of diffusers and transformers out of the log."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
