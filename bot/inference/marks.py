"""What an attached mask means: white on black, strokes, or a copy of the picture painted on.

A member who is asked for a mask sends whatever the program at hand can save. The same pixels may
mean several things; which of them is decided on small copies, so that the preview and the picture
itself never disagree.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from bot.errors import UnusableImage
from bot.i18n import _
from bot.inference.images import within
from bot.inference.morphology import dilate, erode

Colours = NDArray[np.int16]
Levels = NDArray[np.int16]
Truth = NDArray[np.bool_]

_SCENE_SIDE = 256
"""Longer side in pixels of the copies that are asked whether they show the same."""

_MARK_SIDE = 768
"""Longer side of the copies in which marks are looked for: noise of JPEG averages out on the way
there, and a stroke of 10 pixels on a photo of 12 megapixels still has 2."""

_NOISE = 16
"""Levels of 255 that say nothing: what JPEG leaves around a stroke on black."""

_CLOSE = 24
"""Levels by which one colour may differ from another and still be taken for it."""

_STRONG = 60
"""Levels by which the neighbours of a pixel differ where there is an edge."""

_COLOURFUL = 40
"""Levels between the channels of a pixel that is not grey."""


def read_mask(attachment: Image.Image, image: Image.Image) -> Image.Image:
    """Return a mask "L" of the size of `image`, 255 = repaint, from an attachment of any size.

    In this order: what is painted on transparency, or what is erased from a copy of the picture;
    what is painted on a copy of the picture; what has a colour of its own; what is bright. Soft
    edges are kept. Raises UnusableImage where a copy bears no marks, or shows another picture.
    """
    if attachment.mode == "RGBA":
        mask = _alpha(attachment, image)
    elif _is_copy(image, attachment):
        mask = _marks(image, attachment)
    elif _share(_chroma(_colours(attachment, within(attachment.size, _SCENE_SIDE)))) > 0.002:
        mask = _coloured(attachment)
    else:
        mask = attachment.convert("L")
    return _stretched(mask).resize(image.size, Image.Resampling.BILINEAR)


def _alpha(attachment: Image.Image, image: Image.Image) -> Image.Image:
    alpha = attachment.getchannel("A")
    if _is_copy(image, attachment.convert("RGB"), alpha):
        return ImageChops.invert(alpha)
    return alpha


def _is_copy(
    image: Image.Image, attachment: Image.Image, opaque: Image.Image | None = None
) -> bool:
    """Tell whether two pictures show the same scene, whatever was painted over one of them."""
    size = within(image.size, _SCENE_SIDE)
    ours, theirs = _colours(image, size), _colours(attachment, size)
    seen = np.ones(ours.shape[1:], np.bool_)
    if opaque is not None:
        seen = np.asarray(opaque.resize(size)) >= 128
        if not seen.any():
            return False
    if _two_tones(theirs) and not _two_tones(ours):
        return False
    difference = np.abs(ours - theirs).max(axis=0)
    # an edge of the scene that is found again is no chance: at it both sides are as they were
    edges = seen & (_contrast(ours) > _STRONG)
    found = edges & (2 * _contrast(theirs) > _contrast(ours)) & (difference < 2 * _CLOSE)
    if edges.sum() > 0.005 * seen.sum() and found.sum() > 0.3 * edges.sum():
        return True
    # where all the edges are painted over, there are still colours that no mask has
    alike = seen & (difference < _CLOSE)
    grounds = alike & ~(theirs.max(axis=0) < _CLOSE) & ~(theirs.min(axis=0) > 255 - _CLOSE)
    return bool(alike.sum() > 0.5 * seen.sum() and grounds.sum() > 0.25 * seen.sum())


def _marks(image: Image.Image, copy: Image.Image) -> Image.Image:
    """Return what was painted on a copy: where its colours leave the range of ours around there.

    Against the range of the neighbours, and not against the pixel, a copy that was enlarged or
    compressed differs by little, even along edges. A stroke within that range, as grey on grass, is
    seen by the texture that is missing under it.
    """
    size = within(image.size, min(_MARK_SIDE, max(copy.size)))
    ours, theirs = _tones(image, size), _tones(copy, size)
    lowest, highest = _range(ours)
    texture = (highest - lowest).max(axis=0)
    marked = np.maximum(theirs - highest, lowest - theirs).max(axis=0) > _CLOSE
    changed = np.abs(theirs - ours).max(axis=0) > _CLOSE // 2
    marked |= (_around(changed, 1) >= 5) & (3 * _contrast(theirs) < texture)
    # specks go, and lines of two pixels stay: of 9 pixels such a line has 6, of 121 it has 22
    marked &= _around(marked, 1) >= 5
    marked &= _around(marked, 5) >= 16
    mask = np.where(marked, 255, 0).astype(np.uint8)
    gap = max(2, max(size) // 150)
    mask = dilate(erode(dilate(mask, gap), gap), 1)
    if not mask.any():
        raise UnusableImage(
            _("`mask` is a copy of `image` without marks."),
            _("Paint over what shall change, or attach white on black."),
        )
    return Image.fromarray(mask)


def _coloured(attachment: Image.Image) -> Image.Image:
    """Return how far colours are from the ground that they were painted on."""
    colours = _colours(attachment, within(attachment.size, _SCENE_SIDE)).reshape(3, -1)
    grey = ~_chroma(colours)
    ground = _most_frequent(colours[:, grey] if _share(grey) > 0.05 else colours)
    rest = colours[:, ~_near(colours, ground)]
    flat = _share(_near(colours, ground))
    if rest.size:
        flat += 3 * _near(rest, _most_frequent(rest)).sum() / colours.size
    if flat < 0.7:
        raise UnusableImage(
            _("`mask` shows another picture than `image`."),
            _("Paint white on black, or over a copy of the picture."),
        )
    plain = Image.new("RGB", attachment.size, tuple(int(level) for level in ground))
    red, green, blue = ImageChops.difference(attachment, plain).split()
    return ImageChops.lighter(ImageChops.lighter(red, green), blue)


def _stretched(mask: Image.Image) -> Image.Image:
    """Return a mask whose brightest part is white, and whose noise is black."""
    counts = np.array(mask.histogram())
    white = int(np.nonzero(counts)[0].max())
    if white < 2 * _NOISE:
        return Image.new("L", mask.size)
    if white < 255 - 2 * _NOISE:
        # painted in grey: the usual level of the strokes, not what JPEG adds at their edges
        upper = counts.cumsum() - counts[: white // 2].sum()
        white = int(np.searchsorted(upper, upper[-1] / 2))
    return mask.point([0 if v < _NOISE else min(255, round(255 * v / white)) for v in range(256)])


def _colours(image: Image.Image, size: tuple[int, int]) -> Colours:
    """Return a picture as an array (3, height, width) of this size, from 0 to 255."""
    small = image.convert("RGB").resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.stack([np.asarray(band, np.int16) for band in small.split()])


def _tones(image: Image.Image, size: tuple[int, int]) -> Colours:
    """Return brightness and two smoothed differences of colour, which JPEG keeps at half size."""
    small = image.convert("RGB").resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    brightness, *differences = small.convert("YCbCr").split()
    smooth = ImageFilter.BoxBlur(2)
    bands = [brightness, *(band.filter(smooth) for band in differences)]
    return np.stack([np.asarray(band, np.int16) for band in bands])


def _range(colours: Colours) -> tuple[Colours, Colours]:
    """Return the lowest and the highest level among each pixel and its eight neighbours."""
    lowest, highest = colours.copy(), colours.copy()
    for axis in (1, 2):
        for target, choose in ((lowest, np.minimum), (highest, np.maximum)):
            levels = np.moveaxis(target, axis, 0)
            before = levels.copy()
            choose(levels[1:], before[:-1], out=levels[1:])
            choose(levels[:-1], before[1:], out=levels[:-1])
    return lowest, highest


def _contrast(colours: Colours) -> Levels:
    lowest, highest = _range(colours)
    contrast: Levels = (highest - lowest).max(axis=0)
    return contrast


def _around(marked: Truth, reach: int) -> NDArray[np.int32]:
    """Count the marked pixels in the square that reaches so far around each pixel."""
    sums = np.pad(marked.astype(np.int32), ((reach + 1, reach), (reach + 1, reach)))
    sums = sums.cumsum(axis=0).cumsum(axis=1)
    side = 2 * reach + 1
    rows = sums[side:] - sums[:-side]
    counts: NDArray[np.int32] = rows[:, side:] - rows[:, :-side]
    return counts


def _chroma(colours: Colours) -> Truth:
    """Tell of each pixel whether it has a colour."""
    coloured: Truth = colours.max(axis=0) - colours.min(axis=0) > _COLOURFUL
    return coloured


def _two_tones(colours: Colours) -> bool:
    """Tell whether a picture is black and white and nothing else, but for a few pixels."""
    extreme = (colours.max(axis=0) < _CLOSE) | (colours.min(axis=0) > 255 - _CLOSE)
    return _share(extreme) > 0.95


def _share(truth: Truth) -> float:
    return float(truth.mean()) if truth.size else 0.0


def _near(colours: Colours, colour: Colours) -> Truth:
    near: Truth = np.abs(colours - colour[:, None]).max(axis=0) < _CLOSE
    return near


def _most_frequent(colours: Colours) -> Colours:
    """Return the median of the colours (3, number) in the fullest of 8 × 8 × 8 boxes."""
    boxes = np.array([64, 8, 1], np.int16) @ (colours // 32)
    fullest = np.bincount(boxes).argmax()
    median: Colours = np.median(colours[:, boxes == fullest], axis=1).astype(np.int16)
    return median
