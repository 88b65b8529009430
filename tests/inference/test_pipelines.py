"""What is loaded, shared and evicted, within the budget."""

from __future__ import annotations

import weakref

import pytest
import torch

from bot.errors import OutOfMemory
from bot.inference.engine import Engine
from bot.inference.parts import Key, Parts
from bot.inference.pipelines import Pipelines
from bot.inference.quantization import Loaded
from bot.inference.tools import TOOLS

from .conftest import CPU, PLENTY, ask, make_pipelines


def parts(pipelines: Pipelines) -> list[tuple[str, str]]:
    return [(key.repo_id.rpartition("-")[2], key.part) for key in pipelines.loaded]


def everything() -> Pipelines:
    pipelines = make_pipelines()
    for model in ("schnell", "dev"):
        Engine(pipelines, CPU).run(ask(model=model, steps=1))
    return pipelines


def test_the_least_recently_used_leaves_first() -> None:
    pipelines = make_pipelines(device_budget=everything().resident.actual - 1)
    for model in ("schnell", "dev"):
        Engine(pipelines, CPU).run(ask(model=model, steps=1))
    assert parts(pipelines) == [
        ("schnell", "text_encoder"),
        ("schnell", "text_encoder_2"),
        ("dev", "transformer"),
        ("schnell", "vae"),
    ]


def test_the_budget_is_never_exceeded() -> None:
    budget = everything().resident.actual * 2 // 3
    pipelines = make_pipelines(device_budget=budget)
    engine = Engine(pipelines, CPU)
    highest = 0

    def watch(_: object) -> None:
        nonlocal highest
        highest = max(highest, pipelines.resident.actual)

    for model in ("schnell", "dev", "schnell", "dev"):
        engine.run(ask(model=model, steps=1), report=watch)
    assert 0 < highest <= budget


def test_what_is_evicted_leaves_memory_in_the_course_of_the_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    largest = max(part.bytes for part in everything()._components.values())
    pipelines = make_pipelines(device_budget=largest)
    modules: dict[str, weakref.ref[torch.nn.Module]] = {}
    load, alive = Parts.load, list[set[str]]()

    def note(self: Parts, key: Key) -> Loaded:
        loaded = load(self, key)
        modules[key.part] = weakref.ref(loaded.module)
        return loaded

    def look(_: object) -> None:
        alive.append({part for part, module in modules.items() if module() is not None})

    monkeypatch.setattr(Parts, "load", note)
    Engine(pipelines, CPU).run(ask(), report=look)
    # each stage has had what it needs, and in the end the autoencoder is alone
    assert alive[0] == set()
    assert any("text_encoder_2" in each for each in alive)
    assert {"transformer"} in alive
    assert alive[-1] == {"vae"}


def test_a_small_budget_gives_the_same_picture() -> None:
    roomy = Engine(make_pipelines(), CPU).run(ask())
    largest = max(part.bytes for part in everything()._components.values())
    tight = Engine(make_pipelines(device_budget=largest), CPU)
    assert tight.run(ask()).images == roomy.images


def test_a_model_that_does_not_fit_at_all_is_refused_with_figures_and_what_would() -> None:
    with pytest.raises(OutOfMemory, match=r"MB of weights, 1\.0 MB allowed\. The operator needs"):
        Engine(make_pipelines(device_budget=10**6), CPU).run(ask())
    engine = Engine(make_pipelines(device_budget=5 * 10**6), CPU)
    with pytest.raises(OutOfMemory, match=r"Use `quantization: 8-bit`, which takes 2\.9 MB"):
        engine.run(ask(quantization="None"))
    engine.run(ask())


def test_after_evicting_all_nothing_is_resident(engine: Engine, pipelines: Pipelines) -> None:
    engine.run(ask())
    pipelines.evict_all()
    assert pipelines.resident.actual == 0
    engine.run(ask())


@pytest.fixture
def two_tiers(monkeypatch: pytest.MonkeyPatch) -> Pipelines:
    """Pipelines with room for one transformer on the device, and for all in host memory.

    Both are the CPU's memory here; a GPU differs in where `Module.to` moves the weights, not in
    what is moved and when.
    """
    probe = make_pipelines()
    probe.denoiser(TOOLS["dev"], "8-bit")
    pipelines = make_pipelines(device_budget=probe.resident.actual + 10**5)
    monkeypatch.setattr(pipelines, "_host_budget", PLENTY)
    return pipelines


def test_evicting_all_holds_when_host_memory_takes_only_some_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipelines = everything()
    sizes = sorted(part.bytes for part in pipelines._components.values())
    monkeypatch.setattr(pipelines, "_host_budget", sizes[-2])
    pipelines.evict_all()
    assert pipelines.resident.actual == 0
    assert sum(part.bytes for part in pipelines._components.values()) <= sizes[-2]
    Engine(pipelines, CPU).run(ask())


def test_what_leaves_the_device_waits_in_host_memory_and_comes_back(
    two_tiers: Pipelines, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_tiers.denoiser(TOOLS["dev"], "8-bit")
    two_tiers.denoiser(TOOLS["schnell"], "8-bit")
    assert [key.repo_id for key in two_tiers.resident_keys] == ["black-forest-labs/FLUX.1-schnell"]
    assert len(two_tiers.loaded) == 2
    monkeypatch.setattr(Parts, "load", None)  # nothing is read from disk again
    two_tiers.denoiser(TOOLS["dev"], "8-bit")
    assert [key.repo_id for key in two_tiers.resident_keys] == ["black-forest-labs/FLUX.1-dev"]


def test_host_memory_has_its_budget_too(
    two_tiers: Pipelines, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_tiers.denoiser(TOOLS["dev"], "8-bit")
    monkeypatch.setattr(two_tiers, "_host_budget", two_tiers.resident.actual - 1)
    two_tiers.denoiser(TOOLS["schnell"], "8-bit")
    assert two_tiers.loaded == two_tiers.resident_keys


def test_what_is_on_its_way_to_the_device_is_not_dropped_for_what_leaves_it(
    two_tiers: Pipelines, monkeypatch: pytest.MonkeyPatch
) -> None:
    # room in host memory for the text encoders alone, less than for the transformer on its way
    two_tiers.text_encoders("8-bit")
    monkeypatch.setattr(two_tiers, "_host_budget", two_tiers.resident.actual)
    two_tiers.denoiser(TOOLS["dev"], "8-bit")
    assert ("dev", "transformer") in parts(two_tiers)
    assert two_tiers.resident.actual > two_tiers._host_budget


def test_the_accounted_bytes_are_those_of_the_tensors(pipelines: Pipelines) -> None:
    denoiser, part = pipelines.denoiser(TOOLS["schnell"], "8-bit")
    measured = sum(t.nbytes for t in denoiser.transformer.state_dict().values())
    assert part.weights.actual == pytest.approx(measured, rel=0.01)
