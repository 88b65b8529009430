"""How far a tool's weights are, by what a device says that it holds."""

from __future__ import annotations

import pytest

from bot.inference.pipelines import Pipelines
from bot.inference.residency import Distance, distance
from bot.inference.tools import TOOLS

from .conftest import PLENTY, make_pipelines


def distances(pipelines: Pipelines) -> list[Distance]:
    memory = pipelines.memory()
    return [distance(memory, TOOLS[name], "8-bit") for name in ("schnell", "dev", "redux", "fill")]


def test_what_was_used_is_near_what_left_is_farther_and_the_rest_is_on_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probe = make_pipelines()
    probe.denoiser(TOOLS["dev"], "8-bit")
    pipelines = make_pipelines(device_budget=probe.resident.actual + 10**5)
    monkeypatch.setattr(pipelines, "_host_budget", PLENTY)
    assert set(distances(pipelines)) == {Distance.ON_DISK}
    pipelines.denoiser(TOOLS["schnell"], "8-bit")
    pipelines.denoiser(TOOLS["dev"], "8-bit")
    # redux paints with dev's transformer
    assert distances(pipelines) == [
        Distance.IN_HOST_MEMORY,
        Distance.ON_DEVICE,
        Distance.ON_DEVICE,
        Distance.ON_DISK,
    ]
    assert distance(pipelines.memory(), TOOLS["dev"], "None") is Distance.ON_DISK
