"""What a benchmark has found, as markdown, as JSON, and as one picture."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

from bot.inference.comparison import OURS, Form
from bot.inference.types import MemoryStats, Quantization
from bot.units import format_bytes, format_seconds

CELL = 256
"""Side of a picture in the comparison, in pixels."""
BARS = 420
"""Width of the bars beside it."""
STANDARD, EIGHT_BIT = (150, 156, 170), (91, 108, 255)
RANDOM_WEIGHTS = "random weights"
INK, PAPER = (25, 28, 36), (255, 255, 255)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One tool in one form; times in seconds, the median of the runs.

    `image` is the first picture as PNG, `luminosity` its mean, 0 to 255.
    """

    tool: str
    quantization: Quantization
    fallback_reason: str | None
    size: tuple[int, int]
    steps: int
    load_seconds: float
    seconds: float
    step_seconds: float
    memory: MemoryStats
    luminosity: float
    image: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A tool in both forms at one size, and how like their first pictures are, 1 for equal."""

    standard: Measured
    eight_bit: Measured
    ssim: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What was measured, of which models, and where."""

    device: str
    software: str
    models: str
    pairs: Sequence[Pair]
    forms: Sequence[Form] = ()

    def markdown(self) -> str:
        """Return the table as people read it."""
        lines = [
            f"{self.device}, {self.software}, models: {self.models}",
            "",
            "| tool | form | load | weights resident | against fp32 | against bf16 | peak "
            "| s a step | s a picture | against standard | luminosity | SSIM |",
            f"|{'---|' * 12}",
        ]
        for pair in self.pairs:
            lines += [_row(pair.standard), _row(pair.eight_bit, pair)]
        reasons = dict.fromkeys(pair.eight_bit.fallback_reason for pair in self.pairs)
        lines += filter(None, reasons)
        if self.forms:
            lines += ["", *_compared(self.forms)]
        return "\n".join(lines)

    def json(self) -> str:
        """Return everything but the pictures."""
        return json.dumps(
            {
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
                "device": self.device,
                "software": self.software,
                "models": self.models,
                "pairs": [
                    {
                        "standard": _plain(pair.standard),
                        "8-bit": _plain(pair.eight_bit),
                        "ssim": pair.ssim,
                    }
                    for pair in self.pairs
                ],
                "forms": [dataclasses.asdict(form) for form in self.forms],
            },
            indent=1,
        )

    def picture(self) -> Image.Image:
        """Return the pictures of each tool side by side, with bars of memory and time."""
        sheet = Image.new("RGB", (2 * CELL + BARS, (CELL + 24) * len(self.pairs)), PAPER)
        pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
        mark = ", random weights" if RANDOM_WEIGHTS in self.models else ""
        for row, pair in enumerate(self.pairs):
            full, eight = pair.standard, pair.eight_bit
            top = row * (CELL + 24)
            for column, (form, name) in enumerate(
                ((full, "standard"), (eight, eight.quantization))
            ):
                image = Image.open(io.BytesIO(form.image)).convert("RGB")
                image = ImageOps.contain(image, (CELL, CELL))
                sheet.paste(image, (column * CELL, top + 24))
                pen.text((column * CELL + 6, top + 4), f"{form.tool}, {name}{mark}", INK, font)
            bars = (
                ("weights", full.memory.weights.actual, eight.memory.weights.actual, format_bytes),
                ("a picture", full.seconds, eight.seconds, format_seconds),
            )
            for n, (title, standard, small, text) in enumerate(bars):
                _draw_bars(pen, font, top + 30 + n * 110, title, (standard, small), text)
        return sheet


def write(report: Report, folder: Path) -> None:
    """Write the table, the figures and the comparison into a folder; raise OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmark.md").write_text(report.markdown() + "\n", encoding="utf-8")
    (folder / "benchmark.json").write_text(report.json() + "\n", encoding="utf-8")
    report.picture().save(folder / "benchmark.png")


def _row(form: Measured, pair: Pair | None = None) -> str:
    """Return a row of the table; of the 8-bit form, in its pair, beside the standard."""
    weights = form.memory.weights
    cells = [
        f"{form.tool} {form.size[0]}×{form.size[1]}, {form.steps} steps",
        form.quantization if pair else "standard",
        format_seconds(form.load_seconds),
        format_bytes(form.memory.resident),
        _change(weights.actual, weights.float32),
        _change(weights.actual, weights.bfloat16),
        format_bytes(form.memory.peak),
        f"{form.step_seconds:.4f}",
        format_seconds(form.seconds),
        _change(form.seconds, pair.standard.seconds) if pair else "",
        f"{form.luminosity:.1f}",
        f"{pair.ssim:.3f}" if pair else "",
    ]
    return f"| {' | '.join(cells)} |"


def _compared(forms: Sequence[Form]) -> list[str]:
    """Return the table of one step in several forms."""
    ours = {form.size: form.seconds for form in forms if form.name == OURS}
    rows = ["| one step | size | ms | by ours | weights | error |", f"|{'---|' * 6}"]
    for form in forms:
        cells = [form.name, f"{form.size[0]}×{form.size[1]}"]
        if form.failure is None:
            cells += [
                f"{1000 * form.seconds:.1f}",
                f"{form.seconds / ours[form.size]:.2f}" if form.size in ours else "",
                format_bytes(form.weights),
                f"{form.error:.4f}",
            ]
        else:
            cells += [form.failure.replace("|", "/"), "", "", ""]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _draw_bars(
    pen: ImageDraw.ImageDraw,
    font: Any,
    top: int,
    title: str,
    values: tuple[float, float],
    text: Any,
) -> None:
    left, longest = 2 * CELL + 16, BARS - 130
    pen.text((left, top), title, INK, font)
    for n, (value, colour) in enumerate(zip(values, (STANDARD, EIGHT_BIT), strict=True)):
        length = max(1, round(longest * value / max(*values, 1e-9)))
        y = top + 22 + n * 32
        pen.rectangle((left, y, left + length, y + 24), colour)
        pen.text((left + length + 6, y + 4), text(value), INK, font)


def _change(value: float, reference: float) -> str:
    """Return how much less or more a value is than its reference, in percent."""
    change = value / reference - 1
    return f"{'−' if change < 0 else '+'}{abs(change):.1%}".replace("%", " %")


def _plain(measured: Measured) -> dict[str, Any]:
    content = dataclasses.asdict(measured)
    del content["image"]
    return content
