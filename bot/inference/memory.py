"""What is resident and what it cost: bytes of weights, and the memory in use during a job."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

import psutil
import torch

from bot.inference.containers import host_memory
from bot.inference.types import MemoryStats, Weights

GIB = 2**30
GB = 10**9

_MARGIN = 2 * GIB
"""Kept free of weights on a device: activations of a one-megapixel picture, decoding included."""


def weigh(module: torch.nn.Module) -> Weights:
    """Measure the parameters and buffers of `module`, in bytes.

    Quantised tensors count with their integers and scales, as they lie in memory; their size at 16
    and 32 bits is computed from the shape that they stand for. Shared tensors count once.
    """
    tensors = list(itertools.chain(module.parameters(), module.buffers()))
    elements = sum(t.numel() for t in tensors)
    return Weights(
        actual=sum(_stored_bytes(t) for t in tensors), bfloat16=2 * elements, float32=4 * elements
    )


def _stored_bytes(tensor: torch.Tensor) -> int:
    # imported here: who only asks for the budget of a device does without the model libraries
    from optimum.quanto import QTensor

    # quanto's tensors are wrappers, with the numel and dtype of the tensor that they stand for
    if isinstance(tensor, QTensor):
        names, _ = tensor.__tensor_flatten__()
        return sum(_stored_bytes(getattr(tensor, name)) for name in names)
    return tensor.numel() * tensor.element_size()


def total(weights: list[Weights]) -> Weights:
    """Add up the weights of several modules."""
    return Weights(
        actual=sum(w.actual for w in weights),
        bfloat16=sum(w.bfloat16 for w in weights),
        float32=sum(w.float32 for w in weights),
    )


def device_budget(device: torch.device, gigabytes: float | None) -> int:
    """Return the bytes of weights that may stay on `device`: as given, or what it has."""
    if gigabytes is not None:
        return int(gigabytes * GB)
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory - _MARGIN
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - _MARGIN
    return host_budget(None)


def host_budget(gigabytes: float | None) -> int:
    """Return the bytes of weights that may wait in host memory, by default 3/4 of it."""
    return int(gigabytes * GB) if gigabytes is not None else host_memory()[1] * 3 // 4


def capacity(device: torch.device) -> tuple[int, int]:
    """Return the free and the total bytes of a device, of the host where it shares its memory."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)
    return host_memory()


def device_name(device: torch.device) -> str:
    """Return what people call a device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return "Apple GPU" if device.type == "mps" else "CPU"


class MemoryMeter:
    """Measures the memory of one device over the course of one job.

    The peak of CUDA comes from PyTorch's allocator, that of Linux from the kernel; both are reset
    before each job. MPS and other systems keep no peak: there it is the highest of the samples.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._highest = 0

    def reset(self) -> None:
        """Forget the peak of earlier jobs."""
        self._highest = 0
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        elif self._device.type == "cpu":
            # 5 resets the kernel's high-water mark of this process; see proc_pid_clear_refs(5)
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")

    def sample(self) -> None:
        """Take note of the memory in use now; called at each step, where no peak is kept for us."""
        if self._device.type != "cuda":
            self._highest = max(self._highest, self._in_use())

    def stats(self, *, weights: Weights, resident: int) -> MemoryStats:
        """Return the measurements since the last reset; `weights` and `resident` are passed on."""
        self.sample()
        free, total_memory = capacity(self._device)
        if self._device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self._device)
            reserved: int | None = torch.cuda.memory_reserved(self._device)
        else:
            peak = (
                max(self._highest, _kernel_peak()) if self._device.type == "cpu" else self._highest
            )
            reserved = torch.mps.driver_allocated_memory() if self._device.type == "mps" else None
        return MemoryStats(
            device=device_name(self._device),
            peak=peak,
            resident=resident,
            allocated=self._in_use(),
            reserved=reserved,
            free=free,
            total=total_memory,
            weights=weights,
        )

    def _in_use(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.memory_allocated(self._device)
        if self._device.type == "mps":
            return torch.mps.current_allocated_memory()
        return psutil.Process().memory_info().rss


def _kernel_peak() -> int:
    """Return the high-water mark of this process in bytes, 0 where the kernel keeps none."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
