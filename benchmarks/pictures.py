"""What the bot does with a picture before the model sees it: mask previews, edges.

Run with `python -m benchmarks.pictures`. Medians of one run; `--repeats N` sets how many.
"""

from __future__ import annotations

import argparse
import io
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from bot.inference import masks
from bot.inference.annotators import canny_edges
from bot.inference.images import open_image
from bot.inference.types import Region

from .corridor import Row, processor

PHOTO = (4032, 3024)
"""12 megapixels, as telephones take them."""


def photo(size: tuple[int, int]) -> Image.Image:
    """Return gradients, edges and the noise of a sensor."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    smooth = Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC)
    smooth.paste(Image.fromarray(blocks).resize((size[0] // 2, size[1] // 2), 0), (0, 0))
    noisy = np.asarray(smooth, np.int16) + rng.integers(-3, 4, (size[1], size[0], 1))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return a picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def milliseconds(act: Callable[[], object], repeats: int) -> str:
    """Return the median time of an act that was done once before."""
    act()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - start)
    return f"{1000 * statistics.median(seconds):.0f} ms"


def measure(repeats: int) -> Iterator[Row]:
    """Time previews of a large photo, and the edges of one of the size that is painted."""
    large = photo(PHOTO)
    copy = large.copy()
    copy.paste("red", (1200, 900, 2600, 1300))
    white = Image.new("L", PHOTO)
    white.paste(255, (1200, 900, 2600, 1300))
    area, alone = Region(area="centre"), Region()
    adjusted = Region(left=50, adjustments=("grow", "feather", "invert"))
    jpeg, png = encode(large, "JPEG", quality=90), encode(large, "PNG", compress_level=1)
    for what, image, mask, region in (
        ("JPEG, an area", jpeg, None, area),
        ("JPEG, white on black as PNG", jpeg, encode(white, "PNG"), alone),
        ("JPEG, a copy painted on as JPEG", jpeg, encode(copy, "JPEG", quality=85), alone),
        ("JPEG, grown, three adjustments", jpeg, encode(white, "PNG"), adjusted),
        ("PNG, an area", png, None, area),
        ("PNG, white on black as PNG", png, encode(white, "PNG"), alone),
    ):
        size = len(image) / 1024**2
        yield Row(
            f"mask preview, 12-megapixel {what} ({size:.1f} MB)",
            milliseconds(lambda a=image, m=mask, r=region: masks.preview(a, m, r), repeats),
            "≤ 500 ms",
        )
    small = photo((1024, 1024))
    yield Row(
        "edges of 1024×1024 pixels",
        milliseconds(lambda: canny_edges(small, 100, 200), repeats),
        "≤ 150 ms",
    )
    full = open_image(jpeg)
    canvas = masks.prepare_canvas(full, None, area)
    painted = Image.new("RGB", (1152, 864))
    for what, act in (
        ("decode of the whole JPEG", lambda: open_image(jpeg)),
        ("canvas with an area", lambda: masks.prepare_canvas(full, None, area)),
        ("what the model gets", lambda: masks.model_inputs(canvas, painted.size)),
        ("composite of what it painted", lambda: masks.composite(canvas, painted)),
    ):
        yield Row(f"12 megapixels, {what}", milliseconds(act, repeats), "")


def main() -> None:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    rows = list(measure(repeats))
    print(f"{processor()}, Python {platform.python_version()}, {repeats} repeats\n")
    print("| what | measured | goal |\n|---|---|---|")
    for row in rows:
        print(f"| {row.what} | {row.measured} | {row.goal} |")


if __name__ == "__main__":
    main()
