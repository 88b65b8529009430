"""Files made small enough for Discord: a picture that is too large as PNG becomes WebP or JPEG.

What a picture says of how it was made goes with it into another format.
"""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from pathlib import PurePath
from typing import NamedTuple

from PIL import Image

from bot.i18n import _, listed
from bot.inference.metadata import carried
from bot.messages import with_note
from bot.rendering import Attachment, Message
from bot.units import format_bytes

QUALITIES = (95, 85, 70, 50)

ENDINGS = {"PNG": ".png", "WebP": ".webp", "JPEG": ".jpg"}
"""How the files of a format end."""

SMALLER = ("WebP", "JPEG")
"""The formats in the order in which they are tried: WebP holds no side above 16,383 pixels."""

EFFORT = 2
"""Pillow's `method` for WebP, 4 by default: 12 megapixels take 1.2 s instead of 2.1 s, and no more
bytes."""


class Picture(NamedTuple):
    """The pixels of a file as RGB, and the EXIF block that tells how they were made."""

    pixels: Image.Image
    exif: bytes


async def fitted(message: Message, limit: int) -> Message:
    """Return a message whose files have at most `limit` bytes each, as far as that can be had.

    A note in it names what was encoded anew. It runs in a thread: a picture of 12 megapixels takes
    seconds, in Pillow's own code, which lets the gateway's connection go on.
    """
    files = message.attachments or ()
    if all(len(file.content) <= limit for file in files):
        return message
    smaller = [await asyncio.to_thread(_shrunk, file, limit) for file in files]
    anew = [new for new, old in zip(smaller, files, strict=True) if new is not old]
    if not anew:
        return message  # Discord refuses it, and the member is told
    endings = {PurePath(file.filename).suffix for file in anew}
    note = _(
        "Sent as {formats}, for Discord takes no file above {size} here.",
        formats=listed([kind for kind in SMALLER if ENDINGS[kind] in endings]),
        size=format_bytes(limit),
    )
    return with_note(replace(message, attachments=tuple(smaller)), note)


def decoded(content: bytes) -> Picture | None:
    """Return a file as a picture, None if it is none."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return Picture(image.convert("RGB"), carried(image))
    except Exception:
        return None  # whatever Pillow's decoders meet in a file that is broken


def encoded(picture: Picture, kind: str, quality: int) -> bytes | None:
    """Return a picture as a file; None if it is too long or too wide for that format."""
    buffer = io.BytesIO()
    options = {"quality": quality, "method": EFFORT, "compress_level": 1}
    try:
        picture.pixels.save(buffer, kind, exif=picture.exif, **options)
    except (OSError, ValueError):
        return None
    return buffer.getvalue()


def renamed(file: Attachment, kind: str, content: bytes) -> Attachment:
    """Return a file with a content of another format, which its name tells."""
    return replace(
        file, filename=str(PurePath(file.filename).with_suffix(ENDINGS[kind])), content=content
    )


def _shrunk(file: Attachment, limit: int) -> Attachment:
    """Return a file in the first format and the highest quality that fits, or as it is if none."""
    if len(file.content) <= limit:
        return file
    picture = decoded(file.content)
    if picture is None:
        return file
    for kind in SMALLER:
        for quality in QUALITIES:
            content = encoded(picture, kind, quality)
            if content is not None and len(content) <= limit:
                return renamed(file, kind, content)
    return file
