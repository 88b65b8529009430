"""What a job wants on the device, and what is there: a queue that may choose spares switches."""

from __future__ import annotations

from collections.abc import Iterable

from bot.inference.tools import TOOLS
from bot.inference.types import DeviceMemory, Quantization, Request


def model_of(request: Request) -> str:
    """Return the name of the transformer that a request runs on, the largest part by far."""
    return _name(TOOLS[request.tool].transformer_repo_id, request.quantization)


def resident_models(devices: Iterable[DeviceMemory]) -> frozenset[str]:
    """Return the names of the transformers that are on devices, as `model_of` has them."""
    return frozenset(
        _name(each.repo_id, each.quantization)
        for memory in devices
        for each in memory.holdings
        if each.part == "transformer" and each.on_device
    )


def _name(repo_id: str, quantization: Quantization) -> str:
    return f"{repo_id} {quantization}"
