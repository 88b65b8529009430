"""Masks grown and shrunk by a disc, in greys too: arrays (height, width) of 8 bits."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]


def dilate(mask: Grey, radius: int) -> Grey:
    """Return at each pixel the largest value within `radius` pixels of it.

    A disc is a stack of rows, so the maximum along rows is widened step by step and laid on the
    result wherever the disc is that wide: 2 × `radius` passes instead of their square.
    """
    height, width = mask.shape
    result = mask.copy()
    row = mask.copy()
    wide = 0
    for offset in range(radius, -1, -1):
        reach = math.isqrt(radius * radius - offset * offset)
        for step in range(wide + 1, min(reach, width - 1) + 1):
            _raise(row[:, step:], mask[:, :-step])
            _raise(row[:, :-step], mask[:, step:])
        wide = reach
        if offset < height:
            _raise(result[offset:], row[: height - offset])
            _raise(result[: height - offset], row[offset:])
    return result


def erode(mask: Grey, radius: int) -> Grey:
    """Return at each pixel the smallest value within `radius` pixels of it, and of the mask."""
    return 255 - dilate(255 - mask, radius)


def _raise(target: Grey, least: Grey) -> None:
    np.maximum(target, least, out=target)
