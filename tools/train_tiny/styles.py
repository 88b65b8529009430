"""Pictures of scenes in many styles: what members attach was not drawn by `drawing` alone."""

import torch
from torch import Tensor
from torch.nn import functional

from .drawing import Paint, cloud_noise, draw, named_paint
from .models import LatentCodec

PURE = torch.tensor(
    [
        *((255, 0, 0), (255, 165, 0), (255, 255, 0), (0, 128, 0), (0, 255, 255), (0, 0, 255)),
        *((128, 0, 128), (255, 192, 203), (165, 42, 42), (255, 255, 255), (128, 128, 128)),
        (0, 0, 0),
    ]
).float()
"""What other programs mean by the colours of `scenes`, in their order: CSS's of the same names."""

REPAINTED, FLAT, CODED, CLOUDED, MOVED = 0.4, 0.25, 0.35, 0.1, 0.5
"""Shares of the pictures with colours on the way to the pure ones, without light and shadow, as the
autoencoder gives them back, cloudy, and seen from nearer, farther or the side."""
NEAREST, FARTHEST, ASIDE = 0.65, 1.35, 0.2
TILT = 6
"""The columns from here on, one in six, of a scene's row."""


@torch.no_grad()
def draw_styled(
    codec: LatentCodec, rows: Tensor, height: int, width: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Pictures (B, 3, H, W) in 0..1, and which part each pixel shows (B, H, W)."""

    def some(share: float, dimensions: int = 4) -> Tensor:
        size = (len(rows), *(1,) * (dimensions - 1))
        return torch.rand(size, generator=generator, device=rows.device) < share

    is_flat = some(FLAT)
    paint = _paint(rows, some(REPAINTED, 2), generator)
    drawing = draw(_upright(rows, is_flat.flatten()), height, width, paint)
    images = torch.where(is_flat, _flat(drawing.objects, paint), drawing.images)
    images = torch.where(some(CODED), codec.rebuild(images), images)
    images = torch.where(some(CLOUDED), cloud_noise(images, generator), images)
    return _moved(images, drawing.objects, some(MOVED, 1), generator)


def _paint(rows: Tensor, chosen: Tensor, generator: torch.Generator) -> Paint:
    """The scenes' own colours, those of the chosen ones (B, 1) part of the way to the pure ones."""
    named, pure = named_paint(rows), (PURE / 255).to(rows.device)
    far = chosen * torch.rand(len(rows), 1, generator=generator, device=rows.device)
    return Paint(
        backgrounds=torch.lerp(named.backgrounds, pure[rows[:, 0].long()], far),
        objects=torch.lerp(named.objects, pure[rows[:, (2, 8)].long()], far[..., None]),
    )


def _upright(rows: Tensor, chosen: Tensor) -> Tensor:
    """The scenes, the objects of the chosen ones (B,) without any tilt."""
    upright = rows.clone()
    upright[:, TILT::TILT] = 0
    return torch.where(chosen[:, None], upright, rows)


def _flat(objects: Tensor, paint: Paint) -> Tensor:
    """Pictures without light and shadow: each part in its colour."""
    colours = torch.cat((paint.backgrounds[:, None], paint.objects), 1)
    layers = objects.long().flatten(1)[..., None].expand(-1, -1, 3)
    count, height, width = objects.shape
    return colours.gather(1, layers).transpose(1, 2).reshape(count, 3, height, width)


def _moved(
    images: Tensor, objects: Tensor, chosen: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The pictures and their parts, the chosen ones (B,) enlarged or reduced, and shifted."""
    count = len(images)
    draws = torch.rand(count, 3, generator=generator, device=images.device)
    frame = torch.zeros(count, 2, 3, device=images.device)
    scale = NEAREST + (FARTHEST - NEAREST) * draws[:, 0]
    frame[:, 0, 0] = frame[:, 1, 1] = torch.where(chosen, scale, 1.0)
    frame[:, :, 2] = torch.where(chosen[:, None], ASIDE * (2 * draws[:, 1:] - 1), 0.0)
    grid = functional.affine_grid(frame, list(images.shape), align_corners=False)
    options = {"padding_mode": "border", "align_corners": False}
    seen = functional.grid_sample(images, grid, mode="bilinear", **options)
    parts = functional.grid_sample(objects[:, None], grid, mode="nearest", **options)
    return seen, parts[:, 0]
