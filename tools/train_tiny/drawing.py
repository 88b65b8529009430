"""Draws scenes with torch: signed distances become a shaded picture, a depth map and edges."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .scenes import CANVAS, COLOURS, ROW_WIDTH, SHAPES

PALETTE = torch.tensor(list(COLOURS.values()), dtype=torch.float32) / 255
LIGHT = (-0.45, -0.6, 0.66)
BACKGROUND_TOP, BACKGROUND_FALL = 1.03, 0.13
"""The background's brightness runs from the top value down by the fall at the bottom."""
SHADOW_STRENGTH, SHADOW_BLUR = 0.38, 2.2
NO_OBJECT = 1e3


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A batch of drawn scenes.

    `images` (B, 3, H, W) and `depths` (B, 1, H, W) lie in 0..1, near is 1; `objects` (B, H, W) is
    0 on the background, 1 on the farther object and 2 on the nearer one.
    """

    images: Tensor
    depths: Tensor
    objects: Tensor


@dataclass(frozen=True, kw_only=True)
class Paint:
    """Colours of a batch, in 0..1: `backgrounds` (B, 3) and `objects` (B, 2, 3)."""

    backgrounds: Tensor
    objects: Tensor


def named_paint(rows: Tensor) -> Paint:
    """The colours that the rows of `encode_scene` name."""
    palette = PALETTE.to(rows.device)
    return Paint(backgrounds=palette[rows[:, 0].long()], objects=palette[rows[:, (2, 8)].long()])


def draw(
    rows: Tensor, height: int = CANVAS, width: int = CANVAS, paint: Paint | None = None
) -> Drawing:
    """Draw scenes given as rows (B, ROW_WIDTH), in their own colours or in those of `paint`.

    On a canvas of another size, positions are scaled with each side and radii with the shorter one.
    """
    paint = paint or named_paint(rows)
    count, device = rows.shape[0], rows.device
    y, x = _pixel_grid(height, width, device)
    fall = (y / height)[None, None]
    images = paint.backgrounds[:, :, None, None] * (BACKGROUND_TOP - BACKGROUND_FALL * fall)
    depths = (0.06 + 0.16 * fall).expand(count, 1, height, width)
    objects = torch.zeros(count, height, width, device=device)
    scale = torch.tensor([width, height, min(height, width)], device=device) / CANVAS
    for layer in range(2):
        shape, _, *geometry = rows[:, 1 + 6 * layer : 7 + 6 * layer].unbind(1)
        centre_x, centre_y, radius, tilt = (value[:, None, None] for value in geometry)
        centre_x, centre_y, radius = centre_x * scale[0], centre_y * scale[1], radius * scale[2]

        offset_x, offset_y = 3.5 + 0.05 * radius, 4.5 + 0.07 * radius
        shadow = _distances(shape, x - centre_x - offset_x, y - centre_y - offset_y, radius, tilt)
        images = images * (1 - SHADOW_STRENGTH * torch.sigmoid(-shadow / SHADOW_BLUR))[:, None]

        distance = _distances(shape, x - centre_x, y - centre_y, radius, tilt)
        cover = (0.5 - distance).clamp(0, 1)[:, None]
        body, relief = _shade(distance, radius, paint.objects[:, layer])
        depth = 0.42 + 0.27 * layer + 0.26 * relief
        images = images * (1 - cover) + body * cover
        depths = depths * (1 - cover) + depth * cover
        objects = torch.where(cover[:, 0] > 0.5, layer + 1.0, objects)
    return Drawing(images=images.clamp(0, 1), depths=depths.clamp(0, 1), objects=objects)


def signed_distance(shape: str, x: Tensor, y: Tensor, radius: Tensor | float) -> Tensor:
    """Distance to the shape's outline at (x, y) from its centre, in pixels, negative inside."""
    ax, ay = x.abs(), y.abs()
    if shape == "circle":
        return _length(x, y) - radius
    if shape == "square":
        return torch.maximum(ax, ay) - 0.84 * radius
    if shape == "triangle":
        y = y - 0.15 * radius
        return torch.maximum(0.8660254 * ax - 0.5 * y, y) - 0.55 * radius
    if shape == "star":
        return _star_distance(x, y, radius)
    if shape == "ring":
        return (_length(x, y) - 0.74 * radius).abs() - 0.27 * radius
    if shape == "heart":
        # A square on its tip, and a circle on each of its two upper sides.
        half = 0.62 * radius
        lobe = half * math.sqrt(0.5)
        u, v = (ax + y) * math.sqrt(0.5), (y - ax) * math.sqrt(0.5)
        return torch.minimum(
            torch.maximum(u.abs(), v.abs()) - half, _length(ax - lobe, y + lobe) - half
        )
    if shape == "cross":
        arm = 0.34 * radius
        return torch.minimum(
            torch.maximum(ax - radius, ay - arm), torch.maximum(ax - arm, ay - radius)
        )
    raise ValueError(f"unknown shape {shape!r}")


def random_paint(rows: Tensor, generator: torch.Generator) -> Paint:
    """Arbitrary colours, so that the autoencoder is not bound to the named palette."""
    colours = torch.rand(rows.shape[0], 3, 3, generator=generator, device=rows.device)
    return Paint(backgrounds=colours[:, 0], objects=colours[:, 1:])


def random_rows(count: int, generator: torch.Generator) -> Tensor:
    """Scenes of shapes at any place, size and angle, as rows for `draw`."""
    rows = torch.rand(count, ROW_WIDTH, generator=generator, device=generator.device)
    rows[:, 0] = 0
    for start in (1, 7):
        shape, colour, position, radius, tilt = rows[:, start : start + 6].split((1, 1, 2, 1, 1), 1)
        shape.mul_(len(SHAPES) + 1).floor_().sub_(1)
        colour.zero_()
        position.mul_(CANVAS)
        radius.mul_(40).add_(8)
        tilt.mul_(2 * math.pi)
    return rows


def cloud_noise(images: Tensor, generator: torch.Generator) -> Tensor:
    """Blend soft colour clouds into a part of the images."""
    count, _, *size = images.shape
    device = images.device

    def clouds(cells: int) -> Tensor:
        grid = torch.rand(count, 3, cells, cells, generator=generator, device=device)
        return functional.interpolate(grid, size=size, mode="bicubic", align_corners=False)

    def weight(share: float) -> Tensor:
        weights = torch.rand(2, count, 1, 1, 1, generator=generator, device=device)
        return (weights[0] < share) * weights[1]

    soft = weight(0.6)
    images = images * (1 - soft) + clouds(6) * soft
    return (images + 0.4 * weight(0.4) * (clouds(24) - 0.5)).clamp(0, 1)


def find_edges(images: Tensor, low: float = 0.08, high: float = 0.2) -> Tensor:
    """Canny edges (B, 1, H, W), 0 or 1, of images (B, 3, H, W) in 0..1."""
    count, channels, height, width = images.shape
    sobel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]], device=images.device) / 4
    kernels = torch.stack((sobel, sobel.T))[:, None]
    smooth = _blur(images.reshape(-1, 1, height, width), sigma=1.2)
    gradients = functional.conv2d(functional.pad(smooth, (1, 1, 1, 1), mode="replicate"), kernels)
    gx, gy = gradients.view(count, channels, 2, height, width).unbind(2)
    strength, channel = torch.sqrt(gx * gx + gy * gy).max(1, keepdim=True)
    gx, gy = gx.gather(1, channel), gy.gather(1, channel)
    direction = torch.remainder(torch.atan2(gy, gx) * 4 / math.pi + 0.5, 4).floor()

    padded = functional.pad(strength, (1, 1, 1, 1))

    def neighbour(dx: int, dy: int) -> Tensor:
        return padded[:, :, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]

    ridge = torch.zeros_like(strength, dtype=torch.bool)
    for index, (dx, dy) in enumerate(((1, 0), (1, 1), (0, 1), (-1, 1))):
        peak = (strength >= neighbour(dx, dy)) & (strength > neighbour(-dx, -dy))
        ridge |= (direction == index) & peak
    edges, weak = (ridge & (strength > high)).float(), (ridge & (strength > low)).float()
    for _ in range(12):
        edges = functional.max_pool2d(edges, 3, 1, 1) * weak
    return edges


def random_masks(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Masks (B, 1, side, side), 1 where to repaint: boxes, ellipses, blobs, halves, borders."""
    device = generator.device

    def uniform(low: float, high: float) -> Tensor:
        draws = torch.rand(count, 1, 1, generator=generator, device=device)
        return low + (high - low) * draws

    y, x = (grid / side for grid in _pixel_grid(side, side, device))
    dx, dy = x - uniform(0.15, 0.85), y - uniform(0.15, 0.85)
    width, height = uniform(0.1, 0.42), uniform(0.1, 0.42)
    box = (dx.abs() < width) & (dy.abs() < height)
    ellipse = (dx / width) ** 2 + (dy / height) ** 2 < 1
    cells = torch.rand(count, 1, 7, 7, generator=generator, device=device)
    clouds = functional.interpolate(cells, size=(side, side), mode="bicubic", align_corners=False)[
        :, 0
    ]
    angle = uniform(0, 2 * math.pi)
    slope = (x - 0.5) * torch.cos(angle) + (y - 0.5) * torch.sin(angle)
    kinds = (
        (0.38, box),
        (0.66, ellipse),
        (0.80, clouds > uniform(0.45, 0.68)),
        (0.90, slope > uniform(-0.15, 0.25)),
        (0.95, ~box),
    )
    masks, kind = torch.ones_like(box), uniform(0, 1)
    for limit, mask in reversed(kinds):
        masks = torch.where(kind < limit, mask, masks)
    return masks[:, None].float()


def _pixel_grid(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    y, x = (torch.arange(side, device=device) + 0.5 for side in (height, width))
    return y[:, None].expand(height, width), x[None, :].expand(height, width)


def _length(x: Tensor, y: Tensor) -> Tensor:
    return torch.sqrt(x * x + y * y + 1e-6)


def _star_distance(x: Tensor, y: Tensor, radius: Tensor | float) -> Tensor:
    """Distance to the line from a point of the star to the notch beside it."""
    sector = 2 * math.pi / 5
    angle = torch.remainder(torch.atan2(x, -y) + sector / 2, sector) - sector / 2
    distance = _length(x, y)
    u, v = distance * torch.cos(angle), distance * torch.sin(angle).abs()
    tip, notch = 1.12, 0.5
    edge_x, edge_y = notch * math.cos(sector / 2) - tip, notch * math.sin(sector / 2)
    return ((u - tip * radius) * edge_y - v * edge_x) / math.hypot(edge_x, edge_y)


def _distances(shape: Tensor, x: Tensor, y: Tensor, radius: Tensor, tilt: Tensor) -> Tensor:
    """Signed distances (B, H, W) of a batch whose shapes differ."""
    cos, sin = torch.cos(tilt), torch.sin(tilt)
    u, v = cos * x + sin * y, cos * y - sin * x
    result = torch.full_like(u, NO_OBJECT)
    for index, name in enumerate(SHAPES):
        chosen = (shape == index)[:, None, None]
        result = torch.where(chosen, signed_distance(name, u, v, radius), result)
    return result


def _shade(distance: Tensor, radius: Tensor, colours: Tensor) -> tuple[Tensor, Tensor]:
    """A bevelled body lit from the upper left (B, 3, H, W), and its relief (B, 1, H, W)."""
    rim = 1 - (-distance / (0.42 * radius)).clamp(0, 1)
    relief = torch.sqrt((1 - rim * rim).clamp(min=0))
    slope_y, slope_x = torch.gradient(distance, dim=(1, 2))
    lean = 0.8 * rim
    facing = torch.sqrt((1 - lean * lean).clamp(min=0.05))
    light = slope_x * lean * LIGHT[0] + slope_y * lean * LIGHT[1] + facing * LIGHT[2]
    light = light.clamp(min=0)[:, None]
    gloss = 0.22 * light.clamp(max=1) ** 24
    body = colours[:, :, None, None] * (0.48 + 0.76 * light) + gloss
    return body.clamp(0, 1), relief[:, None]


def _blur(images: Tensor, sigma: float) -> Tensor:
    reach = round(3 * sigma)
    offsets = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum())[None, None, None]
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    return functional.conv2d(functional.conv2d(padded, kernel), kernel.transpose(2, 3))
