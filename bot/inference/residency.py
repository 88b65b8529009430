"""What a job would have to wait for: how far the weights of its tool are from the device."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from bot.inference.tools import TOOLS, Tool
from bot.inference.types import DeviceMemory, Quantization, Request


class Distance(IntEnum):
    """Where weights are; the larger, the longer a job waits for them."""

    ON_DEVICE = 0
    IN_HOST_MEMORY = 1
    ON_DISK = 2


def distance(memory: DeviceMemory, tool: Tool, quantization: Quantization) -> Distance:
    """Return how far the transformer of a tool is, the largest part by far.

    A queue that is free to choose takes the job that is nearest.
    """
    for each in memory.holdings:
        names = (each.repo_id, each.part, each.quantization)
        if names == (tool.transformer_repo_id, "transformer", quantization):
            return Distance.ON_DEVICE if each.on_device else Distance.IN_HOST_MEMORY
    return Distance.ON_DISK


def model_of(request: Request) -> str:
    """Return the name of what a request wants on the device, the largest part by far."""
    return _name(TOOLS[request.tool].transformer_repo_id, request.quantization)


def resident_models(devices: Iterable[DeviceMemory]) -> frozenset[str]:
    """Return the names of the transformers that are on devices."""
    return frozenset(
        _name(each.repo_id, each.quantization)
        for memory in devices
        for each in memory.holdings
        if each.part == "transformer" and each.on_device
    )


def _name(repo_id: str, quantization: Quantization) -> str:
    return f"{repo_id} {quantization}"
