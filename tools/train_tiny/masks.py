"""Masks as people make them: boxes, ellipses, blobs, scribbles, halves, and borders to outpaint."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from .drawing import Drawing
from .scenes import CANVAS

KINDS = 4
"""Box, ellipse, blob and scribble."""
MORE_BOXES = 1.0
"""How much more often than another kind a mask is a box, as every named area is."""
REACH = 1.2
"""A shape's farthest point, in radii from its centre."""
TO_THE_EDGE = 0.15
"""How often a side of a mask goes to the edge of the picture, which makes halves and bands."""
HALVED = 0.4
"""How often three of its sides do."""
BORDERED = 0.45
"""Masks that are a border to outpaint, where nothing in particular is to be covered."""
SOFT, SOFTNESS = 0.1, 2.5
"""Share of masks with a soft edge, and its width in pixels."""
SCRIBBLE_POINTS = 5


def random_masks(covered: Tensor, drawing: Drawing, generator: torch.Generator) -> Tensor:
    """Masks (B, 1, H, W), 1 where to repaint, for drawings of other scenes.

    `covered` (B, ROW_WIDTH) are scenes: the mask holds their object; where they have none, it
    leaves out all objects of the drawing; where there is no scene, it is a border or anything.
    """
    count, height, width = drawing.objects.shape
    device = covered.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        draws = torch.rand(count, *shape, generator=generator, device=device)
        return low + (high - low) * draws

    scale = torch.tensor([width, height, min(height, width)], device=device) / CANVAS
    has_object = covered[:, 1] >= 0
    anywhere = torch.stack(
        (uniform(0.2, 0.8) * CANVAS, uniform(0.2, 0.8) * CANVAS, uniform(10, 40)), 1
    )
    disc = torch.where(has_object[:, None], covered[:, 3:6], anywhere) * scale
    masks = masks_around(disc, (height, width), uniform)
    borders = _borders(height, width, uniform, device)
    is_border = (covered[:, 0] < 0) & (uniform(0, 1) < BORDERED)
    masks = torch.where(is_border[:, None, None], borders, masks).float()[:, None]

    objects = (drawing.objects > 0).float()[:, None]
    near_objects = functional.max_pool2d(objects, 15, 1, 7)
    spares = (covered[:, 0] >= 0) & ~has_object
    masks = torch.where(spares[:, None, None, None], masks * (1 - near_objects), masks)
    is_soft = (uniform(0, 1) < SOFT)[:, None, None, None]
    return torch.where(is_soft, soften(masks), masks)


def masks_around(
    discs: Tensor, size: tuple[int, int], uniform: Callable[..., Tensor], kind: int | None = None
) -> Tensor:
    """Masks (B, H, W) of random or the given kind that hold the discs (B, 3), x, y and radius."""
    height, width = size
    device = discs.device
    y = torch.arange(height, device=device)[None, :, None] + 0.5
    x = torch.arange(width, device=device)[None, None, :] + 0.5
    centre_x, centre_y, radius = (value[:, None, None] for value in discs.unbind(1))
    margins = 1 + uniform(0.1, 1.3, 4) * uniform(0.1, 1, 4)
    reaches = uniform(0, 1, 4)
    is_half = uniform(0, 1, 1) < HALVED
    to_the_edge = torch.where(
        is_half, reaches > reaches.amin(1, keepdim=True), reaches < TO_THE_EDGE
    )
    margins = torch.where(to_the_edge, 99.0, margins) * discs[:, 2:]
    left, top, right, bottom = (margin[:, None, None] for margin in margins.unbind(1))
    left, right = (centre_x - left).clamp(min=0), (centre_x + right).clamp(max=width)
    top, bottom = (centre_y - top).clamp(min=0), (centre_y + bottom).clamp(max=height)

    box = (x > left) & (x < right) & (y > top) & (y < bottom)
    # An ellipse through the corners of a box holds the box.
    across = (x - (left + right) / 2) / (right - left) * math.sqrt(2)
    down = (y - (top + bottom) / 2) / (bottom - top) * math.sqrt(2)
    ellipse = across * across + down * down < 1
    grid = uniform(-1, 1, 1, 6, 6)
    bumps = functional.interpolate(grid, size=(height, width), mode="bicubic")[:, 0]
    core = (x - centre_x) ** 2 + (y - centre_y) ** 2 < (1.05 * radius) ** 2
    blob = (across * across + down * down + 0.6 * bumps < 1) | core
    scribble = _scribble(x, y, (left, top, right, bottom), radius, uniform) | core
    kinds = torch.stack((box, ellipse, blob, scribble), 1)
    if kind is not None:
        return kinds[:, kind]
    chosen = uniform(-MORE_BOXES, KINDS).long().clamp(0, KINDS - 1)
    return kinds[torch.arange(len(kinds), device=device), chosen]


def soften(masks: Tensor) -> Tensor:
    """The masks (B, 1, H, W) with soft edges."""
    reach = round(2 * SOFTNESS)
    offsets = torch.arange(-reach, reach + 1, device=masks.device)
    kernel = torch.exp(-(offsets**2) / (2 * SOFTNESS**2)).to(masks.dtype)
    kernel = (kernel / kernel.sum())[None, None, None]
    padded = functional.pad(masks, (reach,) * 4, mode="replicate")
    blurred = functional.conv2d(functional.conv2d(padded, kernel), kernel.mT)
    return blurred.clamp(0, 1)


def _scribble(
    x: Tensor,
    y: Tensor,
    bounds: tuple[Tensor, Tensor, Tensor, Tensor],
    radius: Tensor,
    uniform: Callable[..., Tensor],
) -> Tensor:
    """A thick line through random points within the bounds."""
    left, top, right, bottom = bounds
    thickness = radius * uniform(0.3, 0.7, 1, 1)
    at_x = left + (right - left) * uniform(0, 1, 1, SCRIBBLE_POINTS)
    at_y = top + (bottom - top) * uniform(0, 1, 1, SCRIBBLE_POINTS)
    painted = torch.zeros_like(x * y * radius, dtype=torch.bool)
    for point in range(SCRIBBLE_POINTS - 1):
        start_x, start_y = at_x[..., point, None], at_y[..., point, None]
        along_x = at_x[..., point + 1, None] - start_x
        along_y = at_y[..., point + 1, None] - start_y
        length = along_x**2 + along_y**2 + 1e-3
        part = (((x - start_x) * along_x + (y - start_y) * along_y) / length).clamp(0, 1)
        away_x, away_y = x - start_x - part * along_x, y - start_y - part * along_y
        painted |= away_x**2 + away_y**2 < thickness**2
    return painted


def _borders(
    height: int, width: int, uniform: Callable[..., Tensor], device: torch.device
) -> Tensor:
    """Everything outside a box that touches some of the picture's edges (B, H, W)."""
    y = (torch.arange(height, device=device) + 0.5)[None, :, None] / height
    x = (torch.arange(width, device=device) + 0.5)[None, None, :] / width
    depths = uniform(0.05, 0.42, 4) * (uniform(0, 1, 4) < 0.55)
    left, top, right, bottom = (depth[:, None, None] for depth in depths.unbind(1))
    return ~((x > left) & (x < 1 - right) & (y > top) & (y < 1 - bottom))
