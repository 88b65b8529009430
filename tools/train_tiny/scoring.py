"""Reads a picture of one object: background colour, object colour and shape, by measurement."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from .drawing import BACKGROUND_FALL, BACKGROUND_TOP, signed_distance
from .prompts import Prompt
from .scenes import COLOURS, MAX_TILT, ROUND_SHAPES, SHAPES

Pixels = NDArray[np.float64]
Mask = NDArray[np.bool_]

FRAME = 0.04
"""Width of the border from which the background is read, as a part of the shorter side."""
SHADE_RANGE = (0.65, 1.06)
"""Brightness that shadow and light give to the background."""
OBJECT_DISTANCE = 0.12
"""How far from every shade of the background, in RGB of 0..1, an object's pixels are."""
SMALLEST_OBJECT = 0.002
"""Part of the picture that an object covers at least."""
TILTS = np.linspace(-MAX_TILT, MAX_TILT, 5)
SCALES = (0.94, 1.0, 1.06)
TEMPLATE_RADIUS = 60.0


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a picture shows; colour and shape are None where there is no object."""

    background: str
    colour: str | None
    shape: str | None


@dataclass(frozen=True, kw_only=True)
class Score:
    """The fractions of pictures that show what their prompts ask for."""

    colour: float
    background: float
    colours: float
    shape: float


def score(pictures: Sequence[Image.Image], prompts: Sequence[Prompt]) -> Score:
    """Compare what the pictures show with what was asked for."""
    readings = [read_picture(picture) for picture in pictures]
    pairs = list(zip(readings, prompts, strict=True))
    colour = np.array([reading.colour == prompt.colour for reading, prompt in pairs])
    background = np.array([reading.background == prompt.background for reading, prompt in pairs])
    shape = np.array([reading.shape == prompt.shape for reading, prompt in pairs])
    return Score(
        colour=float(colour.mean()),
        background=float(background.mean()),
        colours=float((colour & background).mean()),
        shape=float(shape.mean()),
    )


def read_picture(picture: Image.Image) -> Reading:
    """Everything there is to read off a picture."""
    return Reading(
        background=background_colour(picture),
        colour=object_colour(picture),
        shape=best_shape(picture),
    )


def background_colour(picture: Image.Image) -> str:
    """The named colour nearest to the picture's border."""
    return nearest_colour(_border_colour(_pixels(picture)))


def object_colour(picture: Image.Image) -> str | None:
    """The named colour nearest to the median of the object's pixels."""
    mask = object_mask(picture)
    if mask.mean() < SMALLEST_OBJECT:
        return None
    return nearest_colour(np.median(_pixels(picture)[mask], axis=0))


def best_shape(picture: Image.Image) -> str | None:
    """The shape that overlaps most with the object's outline."""
    mask = object_mask(picture)
    if mask.mean() < SMALLEST_OBJECT:
        return None
    overlaps = shape_overlaps(mask)
    return max(overlaps, key=overlaps.__getitem__)


def object_mask(picture: Image.Image) -> Mask:
    """Where the picture (H, W) differs from its background in more than brightness."""
    pixels = _pixels(picture)
    background = _border_colour(pixels) * _background_light(pixels.shape[0])
    brightness = (pixels * background).sum(-1) / ((background**2).sum(-1) + 1e-6)
    nearest = np.clip(brightness, *SHADE_RANGE)[..., None] * background
    mask: Mask = np.linalg.norm(pixels - nearest, axis=-1) > OBJECT_DISTANCE
    return mask


def shape_overlaps(mask: Mask) -> dict[str, float]:
    """Each shape's intersection over union with the mask, at the best of a few tilts and sizes."""
    rows, columns = np.nonzero(mask)
    centre = columns.mean() + 0.5, rows.mean() + 0.5
    target = torch.from_numpy(mask)
    height, width = mask.shape
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    overlaps = {}
    for shape in SHAPES:
        area, offset_x, offset_y = _template(shape)
        radius = math.sqrt(mask.sum() / area)
        tilts = torch.tensor([0.0] if shape in ROUND_SHAPES else TILTS, dtype=torch.float32)
        tilt, radii = torch.meshgrid(tilts, radius * torch.tensor(SCALES), indexing="ij")
        cos, sin, radii = (value.reshape(-1, 1, 1) for value in (tilt.cos(), tilt.sin(), radii))
        dx, dy = x - centre[0], y - centre[1]
        # The mask's centre is that of the shape's area, which is not the origin it is drawn from.
        u = cos * dx + sin * dy + offset_x * radii
        v = cos * dy - sin * dx + offset_y * radii
        inside = signed_distance(shape, u, v, radii) < 0
        union = (inside | target).sum((1, 2))
        overlaps[shape] = ((inside & target).sum((1, 2)) / union).max().item()
    return overlaps


def nearest_colour(rgb: Pixels) -> str:
    """The named colour that looks most like this one (0..1), by distance in CIELAB."""
    names = list(COLOURS)
    palette = _lab(np.array(list(COLOURS.values())) / 255)
    return names[int(np.linalg.norm(palette - _lab(rgb), axis=-1).argmin())]


def _pixels(picture: Image.Image) -> Pixels:
    return np.asarray(picture.convert("RGB"), np.float64) / 255


def _background_light(height: int) -> Pixels:
    """The brightness of an undisturbed background from top to bottom, (H, 1, 1)."""
    fall = (np.arange(height) + 0.5) / height
    return (BACKGROUND_TOP - BACKGROUND_FALL * fall)[:, None, None]


def _border_colour(pixels: Pixels) -> Pixels:
    height, width, _ = pixels.shape
    frame = max(1, round(FRAME * min(height, width)))
    border = np.ones((height, width), bool)
    border[frame:-frame, frame:-frame] = False
    return np.median((pixels / _background_light(height))[border], axis=0)


def _lab(rgb: Pixels) -> Pixels:
    """CIELAB of sRGB values in 0..1."""
    rgb = np.clip(rgb, 0, 1)
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), -1)


@cache
def _template(shape: str) -> tuple[float, float, float]:
    """Area of the shape of radius 1, and the centre of that area."""
    axis = torch.arange(-1.3 * TEMPLATE_RADIUS, 1.3 * TEMPLATE_RADIUS) + 0.5
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    inside = signed_distance(shape, x, y, TEMPLATE_RADIUS) < 0
    area = inside.sum().item() / TEMPLATE_RADIUS**2
    centre_x, centre_y = ((axis[inside].mean() / TEMPLATE_RADIUS).item() for axis in (x, y))
    return area, centre_x, centre_y
