"""One request from prompt to picture, on the real tiny models."""

from __future__ import annotations

import io
import json
import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bot.errors import ModelUnavailable, OutOfMemory, UnusablePicture
from bot.i18n import speaking
from bot.inference import engine as engine_module
from bot.inference import pictures, quantization, watch
from bot.inference.engine import Engine
from bot.inference.parts import Parts
from bot.inference.pipelines import Pipelines
from bot.inference.types import Progress, Request, Result
from bot.inference.watch import Cancelled
from tests.catalogues import Catalogues

from .conftest import CPU, ask, make_pipelines


def open_image(result: Result, number: int = 0) -> Image.Image:
    return Image.open(io.BytesIO(result.images[number]))


def test_a_result_has_pictures_of_the_size_seeds_times_and_memory(engine: Engine) -> None:
    result = engine.run(ask(size="portrait", count=2, seed=2**32 - 1))
    assert [open_image(result, n).size for n in range(2)] == [(96, 144)] * 2
    assert result.seeds == (2**32 - 1, 0)
    assert set(result.seconds) == {"load", "encode", "denoise", "decode"}
    assert all(seconds >= 0 for seconds in result.seconds.values())
    assert result.memory.peak >= result.memory.resident > 0
    assert result.quantization == "8-bit"
    assert result.fallback_reason is None


def test_progress_goes_through_the_stages_and_counts_the_steps(engine: Engine) -> None:
    seen: list[Progress] = []
    engine.run(ask(model="dev", steps=3, count=2), report=seen.append)
    stages = list(dict.fromkeys(progress.stage for progress in seen))
    assert stages == ["load", "encode", "denoise", "decode"]
    painting = [p for p in seen if p.stage == "denoise"]
    assert [p.step for p in painting] == [0, 1, 2, 3, 4, 5, 6]
    assert {p.total for p in painting} == {6}
    assert [p.seconds for p in painting] == sorted(p.seconds for p in painting)


def test_the_same_seed_gives_the_same_picture_and_another_seed_another(engine: Engine) -> None:
    first, again, other = (engine.run(ask(seed=seed)) for seed in (7, 7, 8))
    assert open_image(first).tobytes() == open_image(again).tobytes()
    assert open_image(first).tobytes() != open_image(other).tobytes()


def test_a_picture_of_several_can_be_had_again_alone(engine: Engine) -> None:
    second_of_two = engine.run(ask(seed=7, count=2)).images[1]
    alone = engine.run(ask(seed=8)).images[0]
    assert (
        Image.open(io.BytesIO(second_of_two)).tobytes() == Image.open(io.BytesIO(alone)).tobytes()
    )


def test_a_picture_carries_what_it_takes_to_make_it_again(engine: Engine) -> None:
    result = engine.run(ask(model="dev", steps=2, guidance=4.0, count=2))
    image = open_image(result, 1)
    assert isinstance(image, Image.Image)
    said = json.loads(image.info["flux"])
    again = Request.from_options({name: said[name] for name in ask().options() if name in said})
    assert replace(again, width=None, height=None) == replace(
        ask(model="dev", steps=2, guidance=4.0, seed=8), width=None, height=None
    )
    assert (again.width, again.height) == result.size
    assert said["made_with"]["model"] == "black-forest-labs/FLUX.1-dev"
    assert image.info["parameters"].startswith(
        "a large red circle on a blue background\n"
        "Steps: 2, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Distilled CFG Scale: 4, "
        "Seed: 8, Size: 128x128, Model: FLUX.1-dev (tiny), Model revision: "
    )
    assert open_image(engine.run(again)).tobytes() == image.tobytes()


def test_guidance_reaches_dev(engine: Engine) -> None:
    low, high = (engine.run(ask(model="dev", steps=4, guidance=g)) for g in (1.0, 8.0))
    assert open_image(low).tobytes() != open_image(high).tobytes()


def test_eight_bits_save_memory_against_both_references_where_they_apply(engine: Engine) -> None:
    eight, full = (engine.run(ask(quantization=q)) for q in ("8-bit", "None"))
    assert full.quantization == "None"
    assert eight.memory.weights.actual < full.memory.weights.actual
    assert eight.memory.weights.float32 == pytest.approx(full.memory.weights.float32, rel=0.001)
    assert eight.memory.weights.saved_against("float32") > 0.4
    assert full.memory.weights.saved_against("float32") == pytest.approx(0, abs=0.001)


def test_a_second_job_of_the_same_tool_loads_and_quantises_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.run(ask())

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("loaded or quantised again")

    monkeypatch.setattr(Parts, "load", fail)
    monkeypatch.setattr(quantization, "quantize", fail)
    engine.run(ask(seed=8))


def test_a_second_tool_shares_encoders_and_autoencoder(
    engine: Engine, pipelines: Pipelines
) -> None:
    engine.run(ask(model="schnell"))
    before = set(pipelines.loaded)
    engine.run(ask(model="dev", steps=1))
    assert [key.part for key in set(pipelines.loaded) - before] == ["transformer"]


def test_previews_come_near_the_final_picture_as_it_is_painted(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PREVIEW_SECONDS", 0.0)
    seen: list[Progress] = []
    result = engine.run(ask(model="dev", steps=12), report=seen.append)
    previews = [progress.preview for progress in seen if progress.preview]
    assert len(previews) == 11  # the first step has nothing to draw a line from
    final = np.asarray(open_image(result), np.float64)
    errors = [
        np.abs(np.asarray(Image.open(io.BytesIO(each)).convert("RGB"), np.float64) - final).mean()
        for each in previews
    ]
    assert errors[-1] < 4
    assert errors[-1] < errors[len(errors) // 2] < errors[0]


def test_previews_are_small_and_keep_the_shape_of_the_picture(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PREVIEW_SECONDS", 0.0)
    monkeypatch.setattr(pictures, "PREVIEW_SIDE", 10)
    seen: list[Progress] = []
    engine.run(ask(size="wide"), report=seen.append)
    preview = next(progress.preview for progress in seen if progress.preview)
    assert Image.open(io.BytesIO(preview)).size == (80, 48)


def test_previews_can_be_turned_off(pipelines: Pipelines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PREVIEW_SECONDS", 0.0)
    seen: list[Progress] = []
    Engine(pipelines, CPU, previews=False).run(ask(steps=12), report=seen.append)
    assert seen
    assert not any(progress.preview for progress in seen)


def test_a_device_without_room_for_both_paints_without_previews(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "PREVIEW_SECONDS", 0.0)
    tight, seen = Engine(make_pipelines(device_budget=5 * 10**6), CPU), list[Progress]()
    tight.run(ask(), report=seen.append)
    assert not any(progress.preview for progress in seen)


def test_a_cancelled_job_stops_before_the_next_step_and_decodes_nothing(engine: Engine) -> None:
    seen: list[Progress] = []
    with pytest.raises(Cancelled):
        engine.run(
            ask(model="dev", steps=20),
            report=seen.append,
            cancelled=lambda: len([p for p in seen if p.stage == "denoise"]) > 3,
        )
    assert max(p.step for p in seen) == 3
    assert "decode" not in {p.stage for p in seen}
    engine.run(ask())


def test_when_quantising_fails_the_picture_comes_in_full_precision_and_says_why(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reference = Engine(make_pipelines(), CPU).run(ask(quantization="None"))

    def break_half_way(module: torch.nn.Module, **_: Any) -> None:
        next(module.parameters()).data.zero_()
        raise RuntimeError("no kernel for this device")

    monkeypatch.setattr(quantization, "quantize", break_half_way)
    result = engine.run(ask())
    assert result.quantization == "None"
    assert result.fallback_reason is not None
    assert "no kernel for this device" in result.fallback_reason
    assert open_image(result).tobytes() == open_image(reference).tobytes()
    assert "8-bit quantisation failed" in caplog.text
    assert "Traceback" in caplog.text


def test_a_black_picture_is_made_once_more_in_full_precision(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    denoise, calls = engine_module.denoise, []

    def nan_at_first(*arguments: Any, **options: Any) -> torch.Tensor:
        calls.append(arguments)
        latents = denoise(*arguments, **options)
        return latents * float("nan") if len(calls) == 1 else latents

    monkeypatch.setattr(engine_module, "denoise", nan_at_first)
    result = engine.run(ask())
    assert len(calls) == 2
    assert result.quantization == "None"
    assert result.fallback_reason is not None
    assert "black picture" in result.fallback_reason
    assert engine_module.luminosity(open_image(result)) > engine_module.BLACK


@pytest.mark.parametrize(
    "shortage",
    [OutOfMemory("for the model", "Wait."), torch.OutOfMemoryError("CUDA out of memory")],
)
def test_a_black_picture_that_was_asked_for_is_kept_when_full_precision_has_no_room(
    engine: Engine,
    pipelines: Pipelines,
    monkeypatch: pytest.MonkeyPatch,
    shortage: Exception,
) -> None:
    monkeypatch.setattr(engine_module, "BLACK", 256.0)  # every picture counts as black
    denoiser = pipelines.denoiser

    def no_room_for_full_precision(tool: Any, quantization: str) -> Any:
        if quantization == "None":
            raise shortage
        return denoiser(tool, quantization)

    monkeypatch.setattr(pipelines, "denoiser", no_room_for_full_precision)
    result = engine.run(ask())
    assert len(result.images) == 1
    assert result.quantization == "8-bit"
    assert result.notes[0].startswith("It could not be made again in full precision.")
    assert result.notes[1] == "The picture is black."


def test_numbers_that_the_autoencoder_breaks_are_seen_too(
    engine: Engine, pipelines: Pipelines
) -> None:
    engine.run(ask())
    vae, _ = pipelines.autoencoder()
    vae.decoder.conv_out.bias.data.fill_(float("nan"))
    with pytest.raises(UnusablePicture):
        engine.run(ask())


def test_a_picture_that_stays_broken_is_refused(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    denoise = engine_module.denoise
    monkeypatch.setattr(engine_module, "denoise", lambda *a, **o: denoise(*a, **o) * float("nan"))
    with pytest.raises(UnusablePicture):
        engine.run(ask())


def test_out_of_memory_moves_all_else_away_and_tries_again(
    engine: Engine, pipelines: Pipelines, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.run(ask(model="dev", steps=1))
    denoise, calls = engine_module.denoise, []

    def short_at_first(*arguments: Any, **options: Any) -> torch.Tensor:
        calls.append(arguments)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return denoise(*arguments, **options)

    monkeypatch.setattr(engine_module, "denoise", short_at_first)
    result = engine.run(ask())
    assert len(result.images) == 1
    assert "black-forest-labs/FLUX.1-dev" not in {key.repo_id for key in pipelines.loaded}


def test_out_of_memory_twice_is_a_sentence_and_the_next_job_works(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: Any, **__: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(engine_module, "denoise", short)
        for options, advice in (
            ({"quantization": "None"}, "Use `quantization: 8-bit`."),
            ({}, "Try `size: small square`, 64×64 pixels."),
            ({"size": "small square"}, "The operator lowers GPU_MEMORY_GB"),
        ):
            with pytest.raises(OutOfMemory, match=f"pixels. {advice}"):
                engine.run(ask(**options))
    engine.run(ask())


def test_a_prompt_longer_than_the_model_reads_is_noted(engine: Engine) -> None:
    result = engine.run(ask(prompt="a red circle and " * 100))
    assert len(result.notes) == 1
    assert result.notes[0].endswith("the model read the first 256.")


def test_what_is_kept_of_a_job_is_told_to_the_next_member_in_their_own_language(
    engine: Engine, catalogues: Catalogues
) -> None:
    catalogues.add_quoted("fr")
    request = ask(prompt="a red circle and " * 100)
    with speaking("fr"):
        (first,) = engine.run(request).notes
    again = engine.run(replace(request, seed=8))
    assert "encode" in again.reused
    assert first == f"« {again.notes[0]} »"


def test_weights_that_could_not_be_quantised_are_explained_to_each_in_their_own_language(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, catalogues: Catalogues
) -> None:
    def fail(module: torch.nn.Module, **_: Any) -> None:
        raise RuntimeError("no kernel {here}")

    monkeypatch.setattr(quantization, "quantize", fail)
    catalogues.add_quoted("fr")
    with speaking("fr"):
        first = engine.run(ask()).fallback_reason
    second = engine.run(ask(seed=8)).fallback_reason
    assert second == (
        "quantising text_encoder_2 of black-forest-labs/FLUX.1-schnell failed"
        " (RuntimeError: no kernel {here})"
    )
    assert first == f"« {second} »"


def test_a_shortage_of_memory_is_explained_in_the_members_language(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, catalogues: Catalogues
) -> None:
    def short(*_: Any, **__: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine_module, "denoise", short)
    catalogues.add_quoted("fr")
    with speaking("fr"), pytest.raises(OutOfMemory) as raised:
        engine.run(ask())
    assert str(raised.value) == (
        "« The memory of the device is not enough for 128×128 pixels. »"
        " « Try `size: « small square »`, 64×64 pixels. »"
    )


def test_weights_that_are_not_there_are_explained(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    pipelines = make_pipelines()
    request = ask()
    with pytest.raises(ModelUnavailable, match=r"FLUX\.1-Krea-dev could not be loaded"):
        Engine(pipelines, CPU).run(
            type(request)(**{f: getattr(request, f) for f in request.__slots__} | {"tool": "krea"})
        )
