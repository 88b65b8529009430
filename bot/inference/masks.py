"""From what a member attached and typed to a canvas: a picture and which part of it is repainted.

Masks are "L", 255 = repaint, as in diffusers' `mask_image`.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from bot.errors import RequestError, UnusableImage
from bot.i18n import _, number
from bot.inference.images import MAX_PIXELS, check_ratio, flatten, open_image, read_size, within
from bot.inference.marks import read_mask
from bot.inference.morphology import Grey, dilate, erode
from bot.inference.regions import parse_area
from bot.inference.types import Adjustment, Region

GROWTH = 0.02
"""By which part of the longer side *Grow* and *Shrink* move the edge of a mask."""

SOFTNESS = 0.01
"""Standard deviation of *Feather*, and width of the seam of a grown picture, as such a part."""

TINT = (255, 0, 200)
"""Colour that a mask is shown in: seldom in photos."""

_ADJUSTED_SIDE = 1024
"""Longer side of the copy that a mask is adjusted in. An edge that moves by 20 of its pixels need
not be known more exactly, and it takes a twelfth of the time on 12 megapixels."""

_PAINTED = 16
"""Levels of 255 from which on the model has to paint: below, less than a fifteenth of it shows."""

_PREVIEW_BYTES = 300_000


@dataclass(frozen=True, slots=True)
class Canvas:
    """A picture "RGB" in full resolution, and a mask of its size; 255 = repaint."""

    image: Image.Image
    mask: Image.Image


def prepare_canvas(image: Image.Image, attachment: Image.Image | None, region: Region) -> Canvas:
    """Return the canvas of an "RGB" or "RGBA" picture: masked, grown, and its mask adjusted.

    The mask is the first there is of: the attachment, which may have been found by words, the
    transparency of the picture, the area.
    Growing a side goes with each of them, and without. Raises RequestError where nothing is left to
    repaint, or the canvas is too large.
    """
    left, upper, right, lower = _sides(image.size, region)
    check_growth(image.size, region)
    pixels, mask = _masked(image, attachment, region)
    if region.adjustments:
        mask = _adjusted(
            mask, _sides(within(mask.size, _ADJUSTED_SIDE), region), region.adjustments
        )
    if left or upper or right or lower:
        pixels, mask = _grown(pixels, mask, (left, upper, right, lower))
    if not _covers(mask):
        raise RequestError(
            _("After the adjustments nothing is left to repaint."),
            _("Choose a larger area or mask."),
        )
    return Canvas(pixels, mask)


def check_growth(size: tuple[int, int], region: Region) -> None:
    """Raise RequestError where a picture of this size is too long, or grows too long or large."""
    left, upper, right, lower = _sides(size, region)
    width, height = size[0] + left + right, size[1] + upper + lower
    check_ratio((width, height))
    if (width, height) != size and width * height > MAX_PIXELS:
        raise RequestError(
            _(
                "The picture would grow to {width} × {height} pixels, more than {most} megapixels.",
                width=width,
                height=height,
                most=number(MAX_PIXELS // 10**6),
            ),
            _("Grow it by less, or make it smaller first."),
        )


def model_inputs(canvas: Canvas, size: tuple[int, int]) -> tuple[Image.Image, Image.Image]:
    """Return picture "RGB" and mask "L" of `size`, the mask 0 or 255 with nothing between.

    diffusers takes what is 128 or more for masked. Here a pixel is masked as soon as any part of it
    will be replaced to a degree that shows, so that a soft edge mixes with what the model painted.
    """
    image = canvas.image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    mask = canvas.mask.point([255 if level >= _PAINTED else 0 for level in range(256)])
    mask = mask.resize(size, Image.Resampling.BOX)
    return image, mask.point([255 if level else 0 for level in range(256)])


def composite(canvas: Canvas, painted: Image.Image) -> Image.Image:
    """Return the canvas with `painted`, enlarged to it, where the mask is white.

    Where the mask is 0 the pixels are those of the canvas, bit for bit.
    """
    if painted.size != canvas.image.size:
        painted = painted.resize(canvas.image.size, Image.Resampling.LANCZOS)
    result = canvas.image.copy()
    result.paste(painted, mask=canvas.mask)
    return result


def overlay(canvas: Canvas, side: int = 1024) -> bytes:
    """Return the picture with its mask laid over it in colour, as JPEG of at most 300 kB.

    The longer side has at most `side` pixels.
    """
    image, mask = canvas.image.copy(), canvas.mask.copy()
    for each in (image, mask):
        each.thumbnail((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    image.paste(TINT, mask=mask.point([level * 11 // 20 for level in range(256)]))
    inside = np.where(np.asarray(mask) >= 128, 255, 0).astype(np.uint8)
    rim = dilate(inside, 1) - erode(inside, 1)
    # light on dark, so that it can be seen on anything
    image.paste("black", mask=Image.fromarray(dilate(rim, 1) // 2))
    image.paste("white", mask=Image.fromarray(rim))
    for quality in (85, 70, 50, 30):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= _PREVIEW_BYTES:
            break
    return buffer.getvalue()


def preview(image: bytes, mask: bytes | None, region: Region, *, side: int = 1024) -> bytes:
    """Return the overlay of two files as members attached them, both decoded at `side` pixels.

    Raises UnusableImage and RequestError as decoding them in full would.
    """
    check_growth(read_size(image), region)
    picture = open_image(image, at_most=side)
    attachment = None if mask is None else open_image(mask, name="mask", at_most=side)
    return overlay(prepare_canvas(picture, attachment, region), side)


def _masked(
    image: Image.Image, attachment: Image.Image | None, region: Region
) -> tuple[Image.Image, Image.Image]:
    """Return the picture without its transparency, and its mask, empty where it is only grown."""
    if attachment is not None:
        pixels = flatten(image)
        mask = _found(attachment, pixels) if region.words else read_mask(attachment, pixels)
        if not _covers(mask):
            raise UnusableImage(
                _("`mask` is empty."),
                _("Paint white what shall change, and leave the rest black."),
            )
        return pixels, mask
    if image.mode == "RGBA":
        mask = ImageChops.invert(image.getchannel("A"))
        if _covers(mask):
            # colours as they are, also where they are half transparent: on white they would leave
            # a pale fringe around what is painted
            pixels = Image.new("RGB", image.size, "white")
            pixels.paste(image.convert("RGB"), mask=mask.point(255 * [255] + [0]))
            return pixels, mask
    image = flatten(image)
    mask = Image.new("L", image.size)
    if region.area is not None:
        area = parse_area(region.area)
        mask.paste(255, area.box.pixels(image.size))
        return image, ImageChops.invert(mask) if area.around else mask
    if not any(_sides(image.size, region)):
        raise RequestError(
            _("There is nothing to repaint yet."),
            _("Attach a `mask`, name an `area`, or grow the picture to a side."),
        )
    return image, mask


def _found(mask: Image.Image, image: Image.Image) -> Image.Image:
    """Return the mask of words, which needs no reading: it is white on black as it was drawn."""
    return mask.convert("L").resize(image.size, Image.Resampling.BILINEAR)


def _covers(mask: Image.Image) -> bool:
    """Tell whether any part of a mask is more white than black."""
    most = mask.getextrema()[1]
    assert isinstance(most, int | float)
    return most >= 128


def _sides(size: tuple[int, int], region: Region) -> tuple[int, int, int, int]:
    """Return by how many pixels a picture grows: left, upper, right, lower."""
    width, height = size
    return (
        round(width * region.left / 100),
        round(height * region.top / 100),
        round(width * region.right / 100),
        round(height * region.bottom / 100),
    )


def _adjusted(
    mask: Image.Image, sides: tuple[int, int, int, int], adjustments: tuple[Adjustment, ...]
) -> Image.Image:
    """Return the mask of a picture after the adjustments.

    The grown sides take part, always white: so the mask of a side grows into the picture, and does
    not shrink away from it; and to invert exchanges what is kept of the picture itself.
    """
    if set(adjustments) == {"invert"}:
        return ImageChops.invert(mask) if len(adjustments) % 2 else mask
    small = np.asarray(mask.resize(within(mask.size, _ADJUSTED_SIDE), Image.Resampling.BILINEAR))
    left, upper, right, lower = sides
    around = ((upper, lower), (left, right))
    inside = np.s_[upper : upper + small.shape[0], left : left + small.shape[1]]
    for adjustment in adjustments:
        whole = np.pad(small, around, constant_values=255)
        small = _adjust(whole, adjustment, max(small.shape))[inside]
    return Image.fromarray(np.ascontiguousarray(small)).resize(mask.size, Image.Resampling.BILINEAR)


def _adjust(mask: Grey, adjustment: Adjustment, longer: int) -> Grey:
    radius = max(1, round(GROWTH * longer))
    match adjustment:
        case "grow":
            return dilate(mask, radius)
        case "shrink":
            return erode(mask, radius)
        case "feather":
            soft = ImageFilter.GaussianBlur(max(1.0, SOFTNESS * longer))
            return np.asarray(Image.fromarray(mask).filter(soft))
        case "invert":
            return 255 - mask


def _grown(
    pixels: Image.Image, mask: Image.Image, sides: tuple[int, int, int, int]
) -> tuple[Image.Image, Image.Image]:
    """Return a picture with sides added, and the mask with them, the old pixels as they were.

    Close to the picture the sides repeat its last row or column, and the mask lets them shine
    through, ever less from its edge on: so what is painted begins with the picture's own colours.
    Beyond they are grey.
    """
    left, upper, right, lower = sides
    around = ((upper, lower), (left, right))
    image = np.pad(np.asarray(pixels), (*around, (0, 0)), mode="edge")
    width = max(1, round(SOFTNESS * max(pixels.size)))
    ramps = np.maximum(
        _ramp(upper, pixels.height, lower, width)[:, None],
        _ramp(left, pixels.width, right, width)[None, :],
    )
    image[ramps == 255] = 127
    # beside what is repainted anyway, nothing of the old colours shall shine through
    repainted = np.pad(np.asarray(mask), around, mode="edge")
    return Image.fromarray(image), Image.fromarray(np.maximum(ramps, repainted))


def _ramp(before: int, kept: int, after: int, width: int) -> Grey:
    """Return a line of a mask: 0 for what is kept, and outwards up to 255 within `width` pixels."""
    lines = [
        np.minimum(255, 255 * np.arange(1, side + 1) // min(width, max(1, side // 2)))
        for side in (before, after)
    ]
    line = np.concatenate([lines[0][::-1], np.zeros(kept, np.int64), lines[1]])
    return line.astype(np.uint8)
