"""What a job would have to wait for: how far the weights of its tool are from the device."""

from __future__ import annotations

from enum import IntEnum

from bot.inference.tools import Tool
from bot.inference.types import DeviceMemory, Quantization


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
