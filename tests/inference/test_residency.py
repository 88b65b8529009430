"""What a job wants on the device, and what a device says that it holds."""

from __future__ import annotations

import pytest

from bot.inference.pipelines import Pipelines
from bot.inference.requests import redux
from bot.inference.residency import model_of, resident_models
from bot.inference.tools import FAMILIES, TOOLS

from .conftest import PLENTY, ask, make_pipelines


def is_ready(pipelines: Pipelines, **options: object) -> bool:
    return model_of(ask(**options)) in resident_models([pipelines.memory()])


def test_what_is_on_the_device_is_known_and_what_left_it_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probe = make_pipelines()
    probe.denoiser(TOOLS["dev"], "8-bit")
    pipelines = make_pipelines(device_budget=probe.resident.actual + 10**5)
    monkeypatch.setattr(pipelines, "_host_budget", PLENTY)
    assert resident_models([pipelines.memory()]) == frozenset()
    pipelines.denoiser(TOOLS["schnell"], "8-bit")
    assert is_ready(pipelines, model="schnell")
    pipelines.denoiser(TOOLS["dev"], "8-bit")
    assert is_ready(pipelines, model="dev")
    assert not is_ready(pipelines, model="dev", quantization="None")
    assert not is_ready(pipelines, model="schnell")


def test_redux_paints_with_devs_transformer() -> None:
    request = redux(FAMILIES["tiny"], images={"image": b"any"}, seed=1)
    assert model_of(request) == model_of(ask(model="dev"))
