"""The pictures of a sweep as one sheet, with what was varied above each."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt

from PIL import Image, ImageDraw, ImageFont

from bot.inference.sweeps import labels
from bot.inference.types import Sweep

MOST_SIDE = 4096
"""Pixels of the longer side of a sheet, at most; what is larger is scaled down."""

MOST_COLUMNS = 4

GAP = 8
"""Pixels between two pictures."""

STRIP = 1 / 24
"""Height of the strip above a picture, as a share of the width of the sheet: so it is to be read
where Discord shows all of it at once, however many columns there are."""
LEAST_STRIP = 22
"""Pixels of the strip above a picture of the tiny models."""
LETTERS = 0.7
"""Size of the letters, as a share of the height of their strip."""
LEAST_LETTERS = 10
"""Size of letters below which a picture has room for the value alone, without the option."""

BACKGROUND = (49, 51, 56)
"""What shows between them: the grey of Discord's dark theme."""
INK = (242, 243, 245)


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def labelled(pictures: Sequence[Image.Image | None], sweep: Sweep) -> Image.Image:
    """Return the pictures of a sweep, of one size, each below the option and its value.

    They are written as people type them. None leaves the place of a picture empty.
    """
    columns = _columns(len(pictures))
    lines = ceil(len(pictures) / columns)
    size = next(picture.size for picture in pictures if picture)
    width, height, strip = _cell(size, columns, lines)
    line_height = strip + height
    sheet = Image.new(
        "RGB", (columns * (width + GAP) - GAP, lines * (line_height + GAP) - GAP), BACKGROUND
    )
    draw = ImageDraw.Draw(sheet)
    titles, font = _lettering(sweep, width, strip)
    for number, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        line, column = divmod(number, columns)
        left, top = column * (width + GAP), line * (line_height + GAP)
        draw.text((left + width / 2, top + strip / 2), title, INK, font, anchor="mm")
        if picture:
            scaled = picture.resize((width, height), Image.Resampling.LANCZOS)
            sheet.paste(scaled, (left, top + strip))
    return sheet


def _columns(count: int) -> int:
    """Return in how many columns pictures lie so that a sheet is near a square, with few gaps."""
    square = ceil(sqrt(count))
    return min(range(square, max(square, MOST_COLUMNS) + 1), key=lambda each: -count % each)


def _cell(size: tuple[int, int], columns: int, lines: int) -> tuple[int, int, int]:
    """Return width and height of a picture on a sheet, and the height of the strip above it."""
    width, height = size
    room_across = (MOST_SIDE + GAP) // columns - GAP
    room_down = (MOST_SIDE + GAP) // lines - GAP
    scale = min(
        1,
        room_across / width,
        room_down / (height + STRIP * columns * width),
        (room_down - LEAST_STRIP) / height,
    )
    width, height = max(1, int(scale * width)), max(1, int(scale * height))
    return width, height, max(LEAST_STRIP, int(STRIP * columns * width))


def _lettering(sweep: Sweep, width: int, strip: int) -> tuple[Sequence[str], Font]:
    """Return what stands above each picture, and the font in which it fits there."""
    values = labels(sweep)
    titles = [f"{sweep.option} {value}" for value in values]
    size = _size(titles, width, strip)
    if size < LEAST_LETTERS:
        titles, size = list(values), _size(values, width, strip)
    return titles, ImageFont.load_default(size)


def _size(titles: Sequence[str], width: int, strip: int) -> int:
    size = int(LETTERS * strip)
    font = ImageFont.load_default(size)
    longest = max(font.getlength(title) for title in titles)
    return max(1, min(size, int(size * width / longest)))
