"""Latents become pictures: decoding, and previews."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, FluxPipeline
from PIL import Image, ImageStat
from torch.nn import functional

from bot.inference.images import encode_webp

PREVIEW_SIDE = 32
"""Longer side of a preview in latents: 256 pixels, a sixteenth of the work of a megapixel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A decoded picture, and whether it came from finite numbers; NaN is shown black."""

    image: Image.Image
    finite: bool


@torch.inference_mode()
def decode(vae: AutoencoderKL, latents: torch.Tensor, size: tuple[int, int]) -> Picture:
    """Decode packed latents (1, height/16 · width/16, 64) to a picture of that width and height."""
    return _decode(vae, _unpack(vae, latents, size))


@torch.inference_mode()
def decode_preview(
    vae: AutoencoderKL,
    before: torch.Tensor,
    after: torch.Tensor,
    sigmas: tuple[float, float],
    size: tuple[int, int],
) -> bytes:
    """Return a small WebP of what the model has in mind after a step, from packed latents.

    Flow matching moves on a straight line, x = (1 - sigma) · clean + sigma · noise, so the two ends
    of an Euler step, with their sigmas, give its value at sigma 0.
    """
    velocity = (after - before) / (sigmas[1] - sigmas[0])
    clean = _unpack(vae, after - sigmas[1] * velocity, size)
    scale = min(1.0, PREVIEW_SIDE / max(clean.shape[-2:]))
    small = [max(1, round(side * scale)) for side in clean.shape[-2:]]
    return encode_webp(_decode(vae, functional.interpolate(clean, size=small, mode="area")).image)


def luminosity(image: Image.Image) -> float:
    """Return the mean luminosity of a picture, from 0 (black) to 255 (white)."""
    return float(ImageStat.Stat(image.convert("L")).mean[0])


def _scale_factor(vae: AutoencoderKL) -> int:
    """Return how many pixels a latent stands for along each side."""
    return int(2 ** (len(vae.config.block_out_channels) - 1))


def _unpack(vae: AutoencoderKL, latents: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return packed latents as (1, 16, height/8, width/8)."""
    width, height = size
    unpacked: torch.Tensor = FluxPipeline._unpack_latents(
        latents, height, width, _scale_factor(vae)
    )
    return unpacked


def _decode(vae: AutoencoderKL, latents: torch.Tensor) -> Picture:
    """Decode unpacked latents, as the last lines of diffusers' FluxPipeline do."""
    latents = latents / vae.config.scaling_factor + vae.config.shift_factor
    pixels = vae.decode(latents.to(vae.dtype), return_dict=False)[0]
    # what VaeImageProcessor.postprocess does, but on the device, from which a quarter is copied
    levels = torch.nan_to_num(pixels[0], nan=-1.0).mul(0.5).add(0.5).clamp(0, 1).float()
    rows = levels.mul(255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return Picture(image=Image.fromarray(rows), finite=bool(torch.isfinite(pixels).all()))
