"""Trains the autoencoder on every kind of picture that a tool of the family sends through it."""

import math

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from .drawing import (
    cloud_noise,
    draw,
    find_edges,
    random_masks,
    random_paint,
    random_rows,
)
from .models import LATENT_CHANNELS, LATENT_NOISE, build_vae
from .optimizer import FlatMuon
from .scenes import CANVAS
from .studio import DRAWING_BATCH, Studio
from .training import Budget, Step, timed, train

SECONDS = 80.0
LEARNING_RATE = 1.2e-3
BATCH_SIZE = 32
HALF_SIZE_WEIGHT = 0.25
SCENES_FOR_STATISTICS = 4_096
# The pool's shares: pictures with a hole, edges, depth maps and arbitrary colours; the rest is
# plain scenes.
MASKED, EDGES, DEPTHS, ARBITRARY = 0.12, 0.10, 0.08, 0.18


def train_vae(studio: Studio, budget: Budget) -> None:
    """Train the autoencoder and save it with the shift and scale of its latents."""
    torch.manual_seed(0)
    vae = build_vae().to(studio.device, studio.dtype)
    with timed("drawing the autoencoder's pictures"):
        pool = _draw_pool(studio)
    optimizer = FlatMuon([vae.encoder, vae.decoder])
    batch_size = max(2, BATCH_SIZE // studio.scale.batch_divisor)
    step = Step("loss", lambda: _loss(vae, pool, batch_size))
    train("vae", optimizer, [step], budget=budget, learning_rate=LEARNING_RATE)
    _settle_latents(vae, studio)
    studio.save(vae, "vae")


def _loss(vae: AutoencoderKL, pool: Tensor, batch_size: int) -> Tensor:
    """Reconstruction, and the same at half the size from averaged latents.

    The second term keeps detail out of the latents' highest frequencies, which makes them easier
    to generate (Skorokhodov et al. 2025).
    """
    chosen = torch.randint(len(pool), (batch_size,), device=pool.device)
    images = pool[chosen].float() / 127.5 - 1
    means = vae.encoder(images.to(vae.dtype))[:, :LATENT_CHANNELS].float()
    power = means.square().mean()
    full = _reconstruction_loss(vae, means, images)
    half = _reconstruction_loss(
        vae, functional.avg_pool2d(means, 2), functional.avg_pool2d(images, 2)
    )
    return full + HALF_SIZE_WEIGHT * half + 0.1 * (power - 1) ** 2


def _reconstruction_loss(vae: AutoencoderKL, means: Tensor, images: Tensor) -> Tensor:
    latents = means + LATENT_NOISE * torch.randn_like(means)
    error = vae.decoder(latents.to(vae.dtype)).float() - images
    slopes = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    return error.square().mean() + error.abs().mean() + 0.5 * slopes


@torch.no_grad()
def _draw_pool(studio: Studio) -> Tensor:
    """Pictures (N, 3, 128, 128) in bytes."""
    generator = torch.Generator(studio.device).manual_seed(1)
    rows = studio.scenes.rows[: studio.scale.vae_pictures, 0]
    batches = [_draw_mixture(batch, generator) for batch in rows.split(DRAWING_BATCH)]
    return torch.cat([(batch * 255).round().to(torch.uint8) for batch in batches])


def _draw_mixture(rows: Tensor, generator: torch.Generator) -> Tensor:
    count = len(rows)
    drawing = draw(rows)
    images = drawing.images
    holes = random_masks(count, CANVAS, generator)
    arbitrary = random_rows(count, generator)
    painted = draw(arbitrary, paint=random_paint(arbitrary, generator)).images
    kinds = (
        (MASKED, images * (1 - holes) + 0.5 * holes),
        (EDGES, find_edges(images).expand_as(images)),
        (DEPTHS, drawing.depths.expand_as(images)),
        (ARBITRARY, cloud_noise(painted, generator)),
    )
    kind = torch.rand(count, 1, 1, 1, generator=generator, device=rows.device)
    start = 0.0
    for share, pictures in kinds:
        images = torch.where((kind >= start) & (kind < start + share), pictures, images)
        start += share
    return images


@torch.no_grad()
def _settle_latents(vae: AutoencoderKL, studio: Studio) -> None:
    """Fix the posterior's variance and write down the latents' mean and spread."""
    moments = vae.encoder.conv_out
    moments.weight[LATENT_CHANNELS:].zero_()
    moments.bias[LATENT_CHANNELS:].fill_(2 * math.log(LATENT_NOISE))
    rows = studio.scenes.rows[:SCENES_FOR_STATISTICS, 0]
    latents = torch.cat(
        [
            vae.encoder((draw(batch).images * 2 - 1).to(vae.dtype))[:, :LATENT_CHANNELS].float()
            for batch in rows.split(DRAWING_BATCH)
        ]
    )
    vae.register_to_config(
        shift_factor=round(latents.mean().item(), 5),
        scaling_factor=round(1 / latents.std().item(), 5),
    )
