"""Which part of a picture `/fill` repaints, as members say it: an area's name or four numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bot.errors import RequestError


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a picture: its left upper corner and its size, in fractions of it from 0 to 1."""

    x: float
    y: float
    width: float
    height: float

    def pixels(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return left, upper, right and lower edge in a picture of this width and height.

        The box is at least one pixel large.
        """
        left, upper = round(self.x * size[0]), round(self.y * size[1])
        left, upper = min(left, size[0] - 1), min(upper, size[1] - 1)
        right = max(left + 1, round((self.x + self.width) * size[0]))
        lower = max(upper + 1, round((self.y + self.height) * size[1]))
        return left, upper, right, lower


@dataclass(frozen=True, slots=True)
class Area:
    """What is inside of a box, or with `around` all that is outside of it."""

    box: Box
    around: bool = False


_CENTRE = Box(0.25, 0.25, 0.5, 0.5)

AREAS: Mapping[str, Area] = MappingProxyType(
    {
        "left half": Area(Box(0.0, 0.0, 0.5, 1.0)),
        "right half": Area(Box(0.5, 0.0, 0.5, 1.0)),
        "top half": Area(Box(0.0, 0.0, 1.0, 0.5)),
        "bottom half": Area(Box(0.0, 0.5, 1.0, 0.5)),
        "centre": Area(_CENTRE),
        "border": Area(_CENTRE, around=True),
    }
)
"""The areas that have a name; the border is everything but the centre."""

_OTHER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "left": "left half",
        "right": "right half",
        "top": "top half",
        "bottom": "bottom half",
        "center": "centre",
    }
)

_NUMBERS = re.compile(
    r"""\s*(-?\d{1,6}(?:\.\d{1,6})?)\s*%?"""  # the first number
    + r"""[\s,;]\s*(-?\d{1,6}(?:\.\d{1,6})?)\s*%?""" * 3
    + r"""\s*""",
    re.ASCII,
)


def parse_area(text: str) -> Area:
    """Return the area of a name in AREAS, or of `x y w h` in percent of the picture.

    Raises RequestError for anything else, and for a box that is empty or leaves the picture.
    """
    name = " ".join(text.lower().split())
    name = _OTHER_NAMES.get(name, name)
    if name in AREAS:
        return AREAS[name]
    numbers = _NUMBERS.fullmatch(text)
    if numbers is None:
        raise RequestError(
            "`area` is neither a name nor four numbers.",
            f"Choose one of {', '.join(AREAS)}, or give `x y w h` in percent, as in `10 20 50 30`.",
        )
    x, y, width, height = (float(number) for number in numbers.groups())
    if width <= 0 or height <= 0:
        raise RequestError(
            "`area` is empty.", "Its width and height, the last two numbers, are above 0 percent."
        )
    if x < 0 or y < 0 or x + width > 100 or y + height > 100:
        raise RequestError(
            "`area` reaches out of the picture.",
            "Keep `x` + `w` and `y` + `h` within 0 to 100 percent.",
        )
    return Area(Box(x / 100, y / 100, width / 100, height / 100))
