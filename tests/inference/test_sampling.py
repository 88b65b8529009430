"""What our stages make is what diffusers' own pipelines make of the same weights and seed."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    FluxControlPipeline,
    FluxFillPipeline,
    FluxKontextPipeline,
    FluxPipeline,
    FluxPriorReduxPipeline,
)
from PIL import Image, ImageDraw

from bot.inference import requests
from bot.inference.annotators import canny_edges
from bot.inference.engine import Engine
from bot.inference.pipelines import Pipelines
from bot.inference.tools import FAMILIES, TOOLS
from bot.inference.types import Region, Request

TINY = FAMILIES["tiny"]
COMMON: dict[str, Any] = {"seed": 7, "steps": 4, "quantization": "None"}


def scene() -> Image.Image:
    """Return a red circle on green."""
    image = Image.new("RGB", (128, 128), (40, 160, 60))
    ImageDraw.Draw(image).ellipse((32, 32, 96, 96), fill=(220, 40, 40))
    return image


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def components(pipelines: Pipelines, request: Request) -> dict[str, Any]:
    """Return everything that diffusers' own pipelines want, on the weights that ours have."""
    text, _ = pipelines.text_encoders("None")
    denoiser, _ = pipelines.denoiser(TOOLS[request.tool], "None")
    vae, _ = pipelines.autoencoder()
    names = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
    return {name: getattr(text, name) for name in names} | {
        "transformer": denoiser.transformer,
        "scheduler": denoiser.scheduler,
        "vae": vae,
    }


def ask_diffusers(kind: type[Any], pipelines: Pipelines, request: Request, **own: Any) -> Any:
    pipeline = kind(**components(pipelines, request))
    pipeline.set_progress_bar_config(disable=True)
    options = {
        "height": 128,
        "width": 128,
        "num_inference_steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
        "generator": torch.Generator("cpu").manual_seed(request.seed),
    }
    if "prompt_embeds" not in own:
        options["prompt"] = request.prompt
    return pipeline(**options | own).images[0]


def assert_same(ours: bytes, theirs: Image.Image) -> None:
    difference = np.asarray(Image.open(io.BytesIO(ours)), int) - np.asarray(theirs, int)
    assert np.abs(difference).max() <= 1


def test_kontext_is_shown_the_image_as_diffusers_shows_it(
    engine: Engine, pipelines: Pipelines
) -> None:
    request = requests.kontext(TINY, image=png(scene()), prompt="make the circle blue", **COMMON)
    theirs = ask_diffusers(
        FluxKontextPipeline,
        pipelines,
        request,
        image=scene(),
        max_area=128 * 128,
        _auto_resize=False,
    )
    assert_same(engine.run(request).images[0], theirs)


def test_fill_is_shown_image_and_mask_as_diffusers_shows_them(
    engine: Engine, pipelines: Pipelines
) -> None:
    mask = Image.new("L", (128, 128))
    ImageDraw.Draw(mask).rectangle((64, 0, 127, 127), fill=255)
    request = requests.fill(
        TINY,
        image=png(scene()),
        prompt="a yellow star",
        region=Region(area="right half"),
        **COMMON,
    )
    theirs = ask_diffusers(FluxFillPipeline, pipelines, request, image=scene(), mask_image=mask)
    ours = engine.run(request).images[0]
    painted, original = Image.open(io.BytesIO(ours)), scene()
    assert painted.crop((0, 0, 64, 128)).tobytes() == original.crop((0, 0, 64, 128)).tobytes()
    inside = (66, 0, 128, 128)
    assert_same(png(painted.crop(inside)), theirs.crop(inside))


def test_canny_is_shown_the_edges_as_diffusers_shows_them(
    engine: Engine, pipelines: Pipelines
) -> None:
    request = requests.canny(TINY, image=png(scene()), prompt="a blue circle", **COMMON)
    theirs = ask_diffusers(
        FluxControlPipeline,
        pipelines,
        request,
        control_image=canny_edges(scene(), 100, 200),
    )
    assert_same(engine.run(request).images[0], theirs)


@pytest.mark.parametrize("prompt", [None, "a blue circle"])
def test_redux_varies_an_image_as_diffusers_does(
    engine: Engine, pipelines: Pipelines, prompt: str | None
) -> None:
    request = requests.redux(TINY, images={"image": png(scene())}, prompt=prompt, **COMMON)
    prior, _ = pipelines.image_prior(TOOLS["redux"], "None")
    parts = components(pipelines, request)
    theirs_prior = FluxPriorReduxPipeline(
        image_encoder=prior.image_encoder,
        feature_extractor=prior.feature_extractor,
        image_embedder=prior.image_embedder,
        text_encoder=parts["text_encoder"],
        tokenizer=parts["tokenizer"],
        text_encoder_2=parts["text_encoder_2"],
        tokenizer_2=parts["tokenizer_2"],
    )
    with torch.inference_mode():
        embeddings = theirs_prior(scene(), prompt=prompt or "")
    if prompt is None:  # diffusers has zeros of the full models' width where there are no encoders
        tokens = embeddings.prompt_embeds.clone()
        tokens[:, :512] = 0
        embeddings.prompt_embeds = tokens
        embeddings.pooled_prompt_embeds = torch.zeros_like(embeddings.pooled_prompt_embeds)
    theirs = ask_diffusers(FluxPipeline, pipelines, request, **embeddings)
    assert_same(engine.run(request).images[0], theirs)
