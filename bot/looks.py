"""How a result is shown: its pictures judged, put together and encoded as its server wants it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil

from PIL import Image

from bot.captions import ALT_TEXT_LIMIT, varied
from bot.fitting import Picture, decoded, encoded, fitted, renamed
from bot.i18n import counted
from bot.inference.types import Result
from bot.messages import compose, with_note
from bot.records import Job, Look
from bot.rendering import Attachment, Message
from bot.sheets import BACKGROUND, GAP, labelled

CELLS = 8
"""Patches of one colour that are left of the longer side of a blurred picture."""

COLUMNS = 2
"""Of a grid that is no sweep's."""


async def shown(job: Job, result: Result, limit: int) -> Message:
    """Return the message of a result in the look of its job, with files of `limit` bytes at most.

    A file that is no picture is left as it is, unless it would have to be blurred: then it is left
    out. What does not fit although it was encoded anew is left for Discord to refuse.
    """
    # in a thread: pixels take seconds, in Pillow's own code, which lets the gateway go on
    return await fitted(await asyncio.to_thread(_dressed, job, result), limit)


def _dressed(job: Job, result: Result) -> Message:
    message, look = compose(job, result), job.origin.look
    files = message.attachments or ()
    pictures, control = files[: len(result.images)], files[len(result.images) :]

    unsafe = look.hidden(result.unsafe, len(pictures))
    judged = [
        _judged(file, look) if number in unsafe else file for number, file in enumerate(pictures, 1)
    ]
    if unsafe:
        control = ()  # the outline of what nobody is to see
    is_grid = look.layout == "grid" or job.request.sweep is not None
    grid = _grid(job, judged, look) if is_grid else None
    dressed = (grid,) if grid else (_reformatted(file, look) for file in judged if file)

    message = replace(message, attachments=(*dressed, *control))
    for note in _verdicts(judged.count(None), len(unsafe)):
        message = with_note(message, note)
    return message


def _verdicts(withheld: int, unsafe: int) -> Iterator[str]:
    """Yield what became of unsafe pictures."""
    if withheld:
        yield counted(
            "{n} picture withheld: the server's classifier considers it unsafe.",
            "{n} pictures withheld: the server's classifier considers them unsafe.",
            withheld,
        )
    if blurred := unsafe - withheld:
        yield counted(
            "{n} picture blurred: the server's classifier considers it unsafe.",
            "{n} pictures blurred: the server's classifier considers them unsafe.",
            blurred,
        )


def _judged(file: Attachment, look: Look) -> Attachment | None:
    """Return an unsafe picture in the way that it may be seen, None if it may not."""
    picture = decoded(file.content) if look.verdict == "blur" else None
    content = encoded(_blurred(picture), "PNG", look.quality) if picture else None
    return replace(file, content=content, spoiler=True) if content else None


def _blurred(picture: Picture) -> Picture:
    """Return a picture of a few patches that run into each other, which tells nothing else."""
    pixels = picture.pixels
    scale = CELLS / max(pixels.size)
    patches = pixels.resize(
        (ceil(pixels.width * scale), ceil(pixels.height * scale)), Image.Resampling.BOX
    )
    smooth = patches.resize(pixels.size, Image.Resampling.BICUBIC)
    smooth.info.clear()  # Pillow hands on what the file said besides its pixels
    return Picture(smooth, exif=b"")


def _grid(job: Job, files: Sequence[Attachment | None], look: Look) -> Attachment | None:
    """Return the pictures as one, in the order of their seeds; None if they do not make one.

    The place of a picture that is withheld stays empty. As in AUTOMATIC1111's web UI, a grid says
    how its first picture was made.
    """
    kept = [file for file in files if file is not None]
    pictures = [decoded(file.content) if file else None for file in files]
    present = [picture for picture in pictures if picture is not None]
    sweep = job.request.sweep
    if len(kept) < (1 if sweep else 2) or len(present) < len(kept):
        return None
    if sweep is None:
        pixels = _sheet(pictures)
    else:
        pixels = labelled([each and each.pixels for each in pictures], sweep)
    sheet = Picture(pixels, present[0].exif)
    content = encoded(sheet, look.file_format, look.quality)
    if content is None:
        return None
    whole = replace(
        kept[0],
        filename=f"{job.request.tool}-{job.id}-{'sweep' if sweep else 'grid'}.png",
        spoiler=any(file.spoiler for file in kept),
    )
    if sweep is not None:
        said = f"{varied(sweep)}\n{whole.description}"
        whole = replace(whole, description=said[:ALT_TEXT_LIMIT])
    return renamed(whole, look.file_format, content)


def _sheet(pictures: Sequence[Picture | None]) -> Image.Image:
    """Return pictures side by side, line after line."""
    sizes = [picture.pixels.size for picture in pictures if picture]
    width, height = (max(sides) for sides in zip(*sizes, strict=True))
    lines = ceil(len(pictures) / COLUMNS)
    extent = (COLUMNS * (width + GAP) - GAP, lines * (height + GAP) - GAP)
    sheet = Image.new("RGB", extent, BACKGROUND)
    for number, picture in enumerate(pictures):
        if picture:
            line, column = divmod(number, COLUMNS)
            sheet.paste(picture.pixels, (column * (width + GAP), line * (height + GAP)))
    return sheet


def _reformatted(file: Attachment, look: Look) -> Attachment:
    """Return a picture in the format of its look, or as it is if that cannot be had."""
    if look.file_format == "PNG":
        return file
    picture = decoded(file.content)
    content = encoded(picture, look.file_format, look.quality) if picture else None
    return renamed(file, look.file_format, content) if content else file
