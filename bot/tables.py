"""The pictures of a sweep in figures: a table of plain characters that fits a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bot.i18n import _, number, percent
from bot.inference.types import Cell, Sweep
from bot.records import MemoryLine
from bot.units import format_bytes, format_seconds

APART = "  "

LONG = 8
"""Characters of an option's name that would make a column of short values too wide."""

OF_THE_JOB = {"wait", "load"}
"""Work that is not a picture's own: the first one loads for all."""

Align = Callable[[str, int], str]


def table(sweep: Sweep, cells: Sequence[Cell], memory: MemoryLine = "full") -> str:
    """Return what each picture took, 40 characters a line, and in words how two compare.

    Its memory is left out where that is off, unless it is what is compared.
    """
    is_comparison = sweep.option == "quantization"
    option = sweep.option if len(sweep.option) <= LONG else ""
    columns = [
        _column(option, [cell.label for cell in cells], str.ljust),
        _column(_("time"), [format_seconds(_own_seconds(cell)) for cell in cells]),
    ]
    if memory != "off" or is_comparison:
        columns.append(_column(_("peak"), [format_bytes(cell.peak) for cell in cells]))
    if is_comparison:
        columns.append(_column(_("weights"), [format_bytes(cell.weights) for cell in cells]))
    lines = (APART.join(line).rstrip() for line in zip(*columns, strict=True))
    said = [_("The times are without loading."), *(_compared(cells) if is_comparison else ())]
    return "\n".join(["```", *lines, "```", " ".join(said)])


def _column(title: str, values: Sequence[str], align: Align = str.rjust) -> list[str]:
    texts = [title, *values]
    width = max(map(len, texts))
    return [align(text, width) for text in texts]


def _own_seconds(cell: Cell) -> float:
    return sum(seconds for stage, seconds in cell.seconds.items() if stage not in OF_THE_JOB)


def _compared(cells: Sequence[Cell]) -> Iterator[str]:
    """Yield what 8 bits save against full precision, and how alike the pictures are."""
    weights = {cell.quantization: cell.weights for cell in cells}
    if len(weights) > 1 and weights["None"]:
        saved = 1 - weights["8-bit"] / weights["None"]
        if saved >= 0:
            yield _("At 8 bits the weights take {share} less memory.", share=percent(saved))
        else:
            yield _("At 8 bits the weights take {share} more memory.", share=percent(-saved))
    for cell in cells:
        if cell.ssim is not None:
            yield _(
                "The likeness of the pictures (SSIM) is {ssim}, where 1 is the same.",
                ssim=number(cell.ssim, 4),
            )
