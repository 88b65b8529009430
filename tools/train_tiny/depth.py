"""Trains the depth estimator, a small one in Depth Anything's layout, on the scenes' own depth."""

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTImageProcessor,
)

from .drawing import cloud_noise, draw, random_paint, random_rows
from .optimizer import FlatMuon
from .scenes import CANVAS
from .studio import DRAWING_BATCH, Studio
from .training import Budget, Step, timed, train

SECONDS = 65.0
LEARNING_RATE = 1.5e-3
BATCH_SIZE = 96
PATCH = 8
WIDTH, LAYERS, HEADS = 64, 4, 2
NECK = (24, 32, 48, 64)
FIRST_BIAS = 0.3
"""Of the output, so that its ReLU is alive at the start."""
# The canvases besides the square one, because pictures keep their aspect ratio.
CANVASES = ((CANVAS, CANVAS), (CANVAS, 192), (192, CANVAS), (80, CANVAS), (CANVAS, 80))
SHARES = (4, 1, 1, 1, 1)
ARBITRARY, REPAINTED = 0.25, 0.3
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's red, green and blue, which Depth Anything's inputs are measured by."""


def build_depth_estimator() -> DepthAnythingForDepthEstimation:
    """An untrained estimator of 0.5 M parameters."""
    model = DepthAnythingForDepthEstimation(
        DepthAnythingConfig(
            backbone_config=Dinov2Config(
                hidden_size=WIDTH,
                num_hidden_layers=LAYERS,
                num_attention_heads=HEADS,
                mlp_ratio=2,
                image_size=CANVAS,
                patch_size=PATCH,
                out_indices=list(range(1, LAYERS + 1)),
                reshape_hidden_states=False,
                use_mask_token=False,
            ),
            patch_size=PATCH,
            reassemble_hidden_size=WIDTH,
            neck_hidden_sizes=list(NECK),
            fusion_hidden_size=32,
            head_hidden_size=16,
        )
    )
    nn.init.constant_(model.head.conv3.bias, FIRST_BIAS)
    return model


def build_depth_processor() -> DPTImageProcessor:
    """What prepares pictures for it: as Depth Anything's own, but for the size."""
    return DPTImageProcessor(
        size={"height": CANVAS, "width": CANVAS},
        keep_aspect_ratio=True,
        ensure_multiple_of=PATCH,
        resample=3,
        image_mean=list(MEAN),
        image_std=list(SPREAD),
    )


def train_depth_estimator(studio: Studio, budget: Budget) -> None:
    """Train the estimator and save it."""
    torch.manual_seed(0)
    model = build_depth_estimator().to(studio.device, studio.dtype).train()
    steps = []
    for (height, width), share in zip(CANVASES, SHARES, strict=True):
        with timed(f"drawing pictures and depths of {width}x{height}"):
            images, depths = _draw_pool(studio, height, width)
        loss = partial(_loss, model, images, depths, studio)
        steps.append(Step(f"{width}x{height}", loss, share, compiles=False))
    train(
        "depth_estimator",
        FlatMuon([model]),
        steps,
        budget=budget,
        learning_rate=LEARNING_RATE,
        checkpoint=studio.folder / "depth_estimator.checkpoint.pt",
    )
    studio.save(model.eval(), "depth_estimator")
    build_depth_processor().save_pretrained(studio.folder / "depth_estimator")


@torch.no_grad()
def estimate_depth(model: DepthAnythingForDepthEstimation, images: Tensor) -> Tensor:
    """Depths (B, 1, H, W) of images (B, 3, H, W) in 0..1, near is 1, each from 0 to 1."""
    size = images.shape[2:]
    scale = min((CANVAS / side for side in size), key=lambda scale: abs(1 - scale))
    height, width = (round(scale * side / PATCH) * PATCH for side in size)
    resized = functional.interpolate(
        images, size=(height, width), mode="bicubic", antialias=True
    ).clamp(0, 1)
    depths = model(pixel_values=_normalize(resized).to(model.dtype)).predicted_depth.float()
    depths = functional.interpolate(depths[:, None], size=size, mode="bicubic")
    lowest, highest = depths.amin((1, 2, 3), keepdim=True), depths.amax((1, 2, 3), keepdim=True)
    return (depths - lowest) / (highest - lowest).clamp(min=1e-6)


def _loss(
    model: DepthAnythingForDepthEstimation, images: Tensor, depths: Tensor, studio: Studio
) -> Tensor:
    count = max(2, BATCH_SIZE // studio.scale.batch_divisor)
    chosen = torch.randint(len(images), (count,), device=images.device)
    pixels = _normalize(images[chosen].float() / 255).to(studio.dtype)
    error = model(pixel_values=pixels).predicted_depth.float() - depths[chosen].float() / 255
    slopes = error.diff(dim=1).abs().mean() + error.diff(dim=2).abs().mean()
    return error.abs().mean() + 0.5 * slopes


def _normalize(images: Tensor) -> Tensor:
    # Filled in on the device: a CUDA graph cannot copy from the host.
    channels = [(images[:, i] - MEAN[i]) / SPREAD[i] for i in range(3)]
    return torch.stack(channels, 1)


@torch.no_grad()
def _draw_pool(studio: Studio, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, H, W) and depths (N, H, W) in bytes: scenes, and arbitrary shapes."""
    generator = torch.Generator(studio.device).manual_seed(2)
    images, depths = [], []
    for rows in studio.scenes.rows[: studio.scale.vae_pictures, 0].split(DRAWING_BATCH):
        arbitrary, repainted = int(ARBITRARY * len(rows)), math.ceil(REPAINTED * len(rows))
        rows = torch.cat((rows[arbitrary:], random_rows(arbitrary, generator)))
        # The arbitrary shapes, the last, are among those in arbitrary colours.
        plain_rows, other_rows = rows.split((len(rows) - repainted, repainted))
        plain = draw(plain_rows, height, width)
        painted = draw(other_rows, height, width, paint=random_paint(other_rows, generator))
        images += [_to_bytes(plain.images), _to_bytes(cloud_noise(painted.images, generator))]
        depths += [_to_bytes(plain.depths[:, 0]), _to_bytes(painted.depths[:, 0])]
    return torch.cat(images), torch.cat(depths)


def _to_bytes(values: Tensor) -> Tensor:
    return (values * 255).round().to(torch.uint8)
