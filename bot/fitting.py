"""Files made small enough for Discord: a picture that is too large as PNG becomes WebP or JPEG."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from pathlib import PurePath

from PIL import Image

from bot.messages import Attachment, Message, with_note
from bot.units import format_bytes

QUALITIES = (95, 85, 70, 50)

FORMATS = {"WebP": ".webp", "JPEG": ".jpg"}
"""And how their files end, in the order in which they are tried: WebP holds no side above 16,383
pixels."""

EFFORT = 2
"""Pillow's `method` for WebP, 4 by default: 12 megapixels take 1.2 s instead of 2.1 s, and no more
bytes."""


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
    kinds = " and ".join(kind for kind, suffix in FORMATS.items() if suffix in endings)
    note = f"Sent as {kinds}, for Discord takes no file above {format_bytes(limit)} here."
    return with_note(replace(message, attachments=tuple(smaller)), note)


def _shrunk(file: Attachment, limit: int) -> Attachment:
    """Return a file in the first format and the highest quality that fits, or as it is if none."""
    if len(file.content) <= limit:
        return file
    with Image.open(io.BytesIO(file.content)) as image:
        picture = image.convert("RGB")
    for kind, suffix in FORMATS.items():
        for quality in QUALITIES:
            content = _encoded(picture, kind, quality)
            if content is not None and len(content) <= limit:
                filename = str(PurePath(file.filename).with_suffix(suffix))
                return replace(file, filename=filename, content=content)
    return file


def _encoded(picture: Image.Image, kind: str, quality: int) -> bytes | None:
    """Return a picture in a format; None if it is too long or too wide for that one."""
    buffer = io.BytesIO()
    try:
        picture.save(buffer, kind, quality=quality, method=EFFORT)
    except (OSError, ValueError):
        return None
    return buffer.getvalue()
