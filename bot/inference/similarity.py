"""How alike two pictures are, or batches of them: numbers that numpy alone can work out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.floating[Any]]

Pixels = Floats | npt.NDArray[np.uint8]
"""Channels, rows and columns, (..., C, H, W), in 0..1 or as bytes; what is before are pictures."""

WINDOW, SIGMA = 11, 1.5
STABILITY_MEAN, STABILITY_CONTRAST = 0.01**2, 0.03**2

BAND = 64
"""Rows that are compared at a time: what they take stays in the processor's cache, which halves the
time of a megapixel, and a large picture does not take gigabytes."""

_OFFSETS = np.arange(WINDOW) - WINDOW // 2
_KERNEL = np.exp(-(_OFFSETS**2) / (2 * SIGMA**2))
_KERNEL /= _KERNEL.sum()


def psnr(images: Pixels, references: Pixels) -> Floats:
    """Peak signal-to-noise ratio in dB of each pair."""
    difference = _floats(images) - _floats(references)
    error: Floats = np.square(difference).mean((-3, -2, -1)).clip(min=1e-10)
    return -10 * np.log10(error)


def ssim(images: Pixels, references: Pixels) -> Floats:
    """Structural similarity (Wang et al. 2004) of each pair of at least 11×11 pixels, up to 1."""
    rows, columns = (side - WINDOW + 1 for side in images.shape[-2:])
    total = np.zeros(images.shape[:-2])
    for top in range(0, rows, BAND):
        band = slice(top, min(top + BAND, rows) + WINDOW - 1)
        likeness = _likeness(_floats(images[..., band, :]), _floats(references[..., band, :]))
        total += likeness.sum((-2, -1), dtype=np.float64)
    means: Floats = total.mean(-1) / (rows * columns)
    return means


def to_pixels(image: Image.Image) -> Pixels:
    """Return a picture as what is compared here, with three channels."""
    return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


def _floats(pixels: Pixels) -> Floats:
    largest = np.float32(255 if pixels.dtype == np.uint8 else 1)
    return pixels.astype(np.float32) / largest


def _likeness(images: Floats, references: Floats) -> Floats:
    """Return the structural similarity around each pixel that has a whole window."""
    mean_a, mean_b = _smooth(images), _smooth(references)
    variance_a = _smooth(images * images) - mean_a**2
    variance_b = _smooth(references * references) - mean_b**2
    covariance = _smooth(images * references) - mean_a * mean_b
    means = (2 * mean_a * mean_b + STABILITY_MEAN) / (mean_a**2 + mean_b**2 + STABILITY_MEAN)
    contrast = (2 * covariance + STABILITY_CONTRAST) / (
        variance_a + variance_b + STABILITY_CONTRAST
    )
    return means * contrast


def _smooth(images: Floats) -> Floats:
    """Weigh the surroundings of each pixel by a Gaussian: along the rows, then the columns."""
    return _along_rows(_along_rows(images).swapaxes(-1, -2)).swapaxes(-1, -2)


def _along_rows(images: Floats) -> Floats:
    length = images.shape[-1] - WINDOW + 1
    kernel = _KERNEL.astype(images.dtype)
    middle = WINDOW // 2
    smooth: Floats = images[..., middle : middle + length] * kernel[middle]
    for left in range(middle):  # the same weight on either side
        right = WINDOW - 1 - left
        both = images[..., left : left + length] + images[..., right : right + length]
        both *= kernel[left]
        smooth += both
    return smooth
