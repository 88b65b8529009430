"""The pictures of `/help`: each command as the tiny models carry it out.

They lie beside this module as WebP, made by `python -m tools.examples`: what the command was given
on the left, what came of it on the right.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from PIL import Image

from bot.i18n import N_
from bot.inference.images import encode_webp

FOLDER = Path(__file__).parent

THUMBNAIL = 128
"""Pixels of a side."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """How somebody gave a command, its options as they are typed, and what its picture shows.

    The `result` is what came of it, the `description` tells the whole row.
    """

    command: str
    options: Mapping[str, str]
    description: str
    result: str

    @property
    def typed(self) -> str:
        """The command as one types it."""
        options = (f"{name}:{value}" for name, value in self.options.items())
        return " ".join((f"/{self.command}", *options))

    @property
    def path(self) -> Path:
        """The file of its picture."""
        return FOLDER / f"{self.command}.webp"


EXAMPLES: Mapping[str, Example] = MappingProxyType(
    {
        example.command: example
        for example in (
            Example(
                command="generate",
                options={"prompt": "a large yellow star on a blue background"},
                description=N_("A large yellow star on a blue background"),
                result=N_("A large yellow star on a blue background"),
            ),
            Example(
                command="fill",
                options={"image": "shapes.png", "prompt": "a yellow ring", "area": "right half"},
                description=N_(
                    "A green star and an orange circle, the same with the right half marked, and"
                    " what came of it: there is a yellow ring in the place of the circle"
                ),
                result=N_("A green star that was there, and a yellow ring that is new"),
            ),
            Example(
                command="kontext",
                options={"image": "star.png", "prompt": "make the star red"},
                description=N_(
                    "A yellow star on a blue background, and what came of it: the same star in red"
                ),
                result=N_("A star that was yellow and is red now"),
            ),
            Example(
                command="depth",
                options={
                    "image": "ring.png",
                    "prompt": "a green ring left of a pink star on a white background",
                },
                description=N_(
                    "A red ring and a yellow star on blue, their depth in shades of grey, and what"
                    " came of it: a green ring and a pink star on white, of the same shapes"
                ),
                result=N_("A green ring and a pink star, where another ring and star were"),
            ),
            Example(
                command="canny",
                options={
                    "image": "star.png",
                    "prompt": "a large orange star on a green background",
                },
                description=N_(
                    "A yellow star on blue, its edges as white lines, and what came of it: an"
                    " orange star on green with the same outline"
                ),
                result=N_("An orange star with the outline of a yellow one"),
            ),
            Example(
                command="redux",
                options={"image": "heart.png", "count": "2"},
                description=N_(
                    "An orange heart on a cyan background, and what came of it: two more such"
                    " hearts, in other sizes and places"
                ),
                result=N_("A heart that is much like another one"),
            ),
        )
    }
)


@cache
def picture(command: str) -> bytes:
    """Return the picture of a command as WebP."""
    return EXAMPLES[command].path.read_bytes()


@cache
def thumbnail(command: str) -> bytes:
    """Return what came of a command alone, the last square of its picture, as small WebP."""
    image = Image.open(io.BytesIO(picture(command)))
    square = (image.width - image.height, 0, image.width, image.height)
    return encode_webp(image.crop(square).convert("RGB"), side=THUMBNAIL)
