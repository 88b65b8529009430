"""Measures the family through the real pipelines, on prompts and scenes it was not trained on."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderKL, FluxPipeline
from optimum.quanto import freeze, qint8, quantize
from PIL import Image
from torch import Tensor

from .assemble import DEV, SCHNELL, load_pipeline
from .drawing import draw
from .prompts import Prompt, fresh_prompts
from .scenes import CANVAS, encode_scene, sample_scene
from .scoring import Score, score
from .similarity import psnr, ssim

PROMPT_SEED = 20_000
SCENE_SEED = 30_000
PICTURE_SEED = 40_000
BATCH_SIZE = 20
VAE_SCENES = 64


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How a model is asked for pictures."""

    name: str
    steps: int
    guidance: float
    prompt_length: int


SETTINGS = (
    Setting(name=SCHNELL, steps=4, guidance=0.0, prompt_length=256),
    Setting(name=DEV, steps=28, guidance=3.5, prompt_length=512),
)


def evaluate(family: Path, prompts: int) -> None:
    """Print the table of figures."""
    print(f"VAE PSNR on fresh scenes: {_describe(vae_psnr(family), 'dB')}")
    requests = fresh_prompts(prompts, PROMPT_SEED)
    columns = ("object", "background", "both", "shape", "s/picture")
    print(f"{f'{prompts} fresh prompts':22}" + "".join(f"{column:>12}" for column in columns))
    for setting in SETTINGS:
        pipeline = load_pipeline(family, setting.name).to(_device())
        full = _report(setting.name, pipeline, requests, setting)
        for model in (pipeline.transformer, pipeline.text_encoder_2):
            quantize(model, weights=qint8)
            freeze(model)
        quantized = _report(f"{setting.name} 8-bit", pipeline, requests, setting)
        pair = _to_tensor(quantized), _to_tensor(full)
        print(f"  PSNR to full precision: {_describe(psnr(*pair), 'dB')}")
        print(f"  SSIM to full precision: {_describe(ssim(*pair))}")


def generate(
    pipeline: FluxPipeline,
    texts: Sequence[str],
    setting: Setting,
    *,
    seed: int = PICTURE_SEED,
    height: int = CANVAS,
    width: int = CANVAS,
) -> list[Image.Image]:
    """One picture a prompt, each from its own seed."""
    pictures: list[Image.Image] = []
    for start in range(0, len(texts), BATCH_SIZE):
        batch = list(texts[start : start + BATCH_SIZE])
        seeds = range(seed + start, seed + start + len(batch))
        pictures += pipeline(
            prompt=batch,
            num_inference_steps=setting.steps,
            guidance_scale=setting.guidance,
            max_sequence_length=setting.prompt_length,
            height=height,
            width=width,
            generator=[torch.Generator().manual_seed(number) for number in seeds],
        ).images
    return pictures


@torch.no_grad()
def vae_psnr(family: Path) -> Tensor:
    """PSNR in dB of fresh scenes after encoding, sampling and decoding."""
    vae = AutoencoderKL.from_pretrained(family / SCHNELL / "vae", dtype=torch.float32)
    rng = Random(SCENE_SEED)
    rows = torch.tensor([encode_scene(sample_scene(rng)) for _ in range(VAE_SCENES)])
    images = draw(rows).images
    generator = torch.Generator().manual_seed(PICTURE_SEED)
    latents = vae.encode(images * 2 - 1).latent_dist.sample(generator)
    return psnr((vae.decode(latents).sample / 2 + 0.5).clamp(0, 1), images)


def _report(
    title: str, pipeline: FluxPipeline, prompts: Sequence[Prompt], setting: Setting
) -> list[Image.Image]:
    start = time.monotonic()
    pictures = generate(pipeline, [prompt.text for prompt in prompts], setting)
    seconds = (time.monotonic() - start) / len(prompts)
    print(_format_row(title, score(pictures, prompts), seconds), flush=True)
    return pictures


def _format_row(title: str, result: Score, seconds: float) -> str:
    figures = (result.colour, result.background, result.colours, result.shape)
    return f"{title:22}" + "".join(f"{f:12.1%}" for f in figures) + f"{seconds:12.2f}"


def _to_tensor(pictures: Sequence[Image.Image]) -> Tensor:
    pixels = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255


def _describe(values: Tensor, unit: str = "") -> str:
    return (
        f"median {values.median():.3f} {unit} mean {values.mean():.3f} {unit} "
        f"lowest {values.min():.3f} {unit}"
    ).strip()


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
