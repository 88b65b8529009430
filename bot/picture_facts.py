"""What the files of anybody's pictures say: size, format, and how a program made them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from bot.i18n import _
from bot.inference.images import FORMATS, read_size
from bot.inference.metadata import parse_a1111, read_metadata, read_parameters

MOST = 40
"""Parameters of one picture that are told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureFacts:
    """Width and height, the format, and the parameters that were found, which may be forged."""

    size: tuple[int, int]
    format: str
    parameters: Mapping[str, Any]


def read_facts(content: bytes, *, name: str) -> PictureFacts:
    """Return what a file says of itself; raise UnusableImage, which names it, if it is no picture.

    It takes milliseconds: no pixel is decoded.
    """
    size = read_size(content, name=name)
    return PictureFacts(size=size, format=_format(content), parameters=_parameters(content))


def _format(content: bytes) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                return image.format or _("unknown")
        except OSError:
            return "HEIC"  # the only other one that is read


def _parameters(content: bytes) -> Mapping[str, Any]:
    own = read_metadata(content)
    if own is not None:
        return dict(list(own.items())[:MOST])
    text = read_parameters(content)
    return {} if text is None else dict(list(parse_a1111(text).items())[:MOST])
