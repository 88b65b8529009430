"""Which part of a picture `/fill` repaints, as members say it: a name, four numbers, or words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bot.errors import RequestError
from bot.i18n import _, number


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
        "middle": "centre",
    }
)

_NUMBERS = re.compile(
    r"""\s*(-?\d{1,6}(?:\.\d{1,6})?)\s*%?"""  # the first number
    + r"""[\s,;]\s*(-?\d{1,6}(?:\.\d{1,6})?)\s*%?""" * 3
    + r"""\s*""",
    re.ASCII,
)


MAX_WORDS = 100
"""Characters. CLIPSeg reads 77 tokens, and words that find something are few."""

_NUMERALS = 2
"""Of which words may have some, as in `the number 10`; whoever types more means a box."""


def are_words(text: str) -> bool:
    """Tell whether an area is meant to be found in the picture: no name, and not four numbers.

    What looks like numbers with a fault in them is left to `parse_area`.
    """
    if _name(text) in AREAS or not any(letter.isalpha() for letter in text):
        return False
    return len(re.findall(r"\d+(?:\.\d+)?", text)) <= _NUMERALS


def check_words(text: str) -> str:
    """Return words without needless white space; raise RequestError if they are too many."""
    words = " ".join(encodable(text).split())
    if len(words) > MAX_WORDS:
        raise RequestError(
            _(
                "The words for what is repainted have {length} characters, but at most {most} are"
                " read.",
                length=number(len(words)),
                most=number(MAX_WORDS),
            ),
            _("Name it more briefly, as `the red hat`."),
        )
    return words


def encodable(text: str) -> str:
    """Return a text without halves of characters, which neither tokenizers nor files take."""
    return text.encode(errors="replace").decode()


def parse_area(text: str) -> Area:
    """Return the area of a name in AREAS, or of `x y w h` in percent of the picture.

    Raises RequestError for anything else, and for a box that is empty or leaves the picture.
    """
    name = _name(text)
    if name in AREAS:
        return AREAS[name]
    numbers = _NUMBERS.fullmatch(text)
    if numbers is None:
        raise RequestError(
            _("`area` is neither a name nor four numbers."),
            _(
                "Choose one of {names}, or give `x y w h` in percent, as in `10 20 50 30`.",
                names=", ".join(AREAS),
            ),
        )
    x, y, width, height = map(float, numbers.groups())
    if width <= 0 or height <= 0:
        raise RequestError(
            _("`area` is empty."),
            _("Its width and height, the last two numbers, are above 0 percent."),
        )
    if x < 0 or y < 0 or x + width > 100 or y + height > 100:
        raise RequestError(
            _("`area` reaches out of the picture."),
            _("Keep `x` + `w` and `y` + `h` within 0 to 100 percent."),
        )
    return Area(Box(x / 100, y / 100, width / 100, height / 100))


def _name(text: str) -> str:
    name = " ".join(text.lower().split())
    return _OTHER_NAMES.get(name, name)
